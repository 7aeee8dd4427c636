// The texts of the section "Your own generator"; {names} are filled in.

export const strings = {
  drop_intro: {
    en: "This page can show any generator of this project. Export one, {command}, and drop the file anywhere on the page. It is read in your browser and sent nowhere.",
    zh: "本页可以展示本项目的任何生成器。先导出：{command}，再把文件拖到页面的任何地方。文件只在浏览器中读取，不会发送到任何地方。",
  },
  drop_command: { en: "gan export RUN --out mine.safetensors", zh: "gan export RUN --out mine.safetensors" },
  drop_here: { en: "Drop a .safetensors file here, or", zh: "把 .safetensors 文件拖到这里，或者" },
  drop_choose: { en: "choose one", zh: "选择文件" },
  drop_reading: { en: "Reading {file}.", zh: "正在读取 {file}。" },
  drop_done: { en: "The page now shows {file}. Reload it to go back.", zh: "本页现在展示 {file}。刷新页面即可恢复。" },
  drop_foreign: { en: "{file} is not a .safetensors file of gan export; the page is unchanged.", zh: "{file} 不是 gan export 写出的 .safetensors 文件；页面没有改变。" },
  drop_damaged: { en: "{file} is damaged or describes no generator that this page can run; the page is unchanged.", zh: "{file} 已损坏，或者描述的不是本页能运行的生成器；页面没有改变。" },
  drop_format: { en: "{file} was written by another version of gan export; export it again with the version that made this page.", zh: "{file} 由另一版本的 gan export 写出；请用生成本页的版本重新导出。" },
  drop_too_large: { en: "{file} is larger than 120 MB; the page is unchanged.", zh: "{file} 超过 120 MB；页面没有改变。" },
};
