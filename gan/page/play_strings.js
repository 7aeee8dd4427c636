// The texts of the section "Play"; {names} are filled in.

export const strings = {
  play_intro: {
    en: "The image is made of random numbers, the latent. Change them: every latent near a good one gives a good image, and a small step gives a small change.",
    zh: "图像由一组随机数（潜变量）生成。改变它们试试：一个好的潜变量附近都是好的图像，走一小步，图像只变一点。",
  },
  play_intro_class: {
    en: "The image is made of random numbers, the latent, and of a class. Change either: a small step gives a small change, and the same latent in another class often keeps its slant and stroke.",
    zh: "图像由一组随机数（潜变量）和一个类别生成。两者都可以改：走一小步，图像只变一点；换个类别而潜变量不变，倾斜和笔画的粗细往往也不变。",
  },
  play_image: { en: "output: the image", zh: "输出：图像" },
  play_new: { en: "New latent", zh: "新的潜变量" },
  play_walk: { en: "Walk", zh: "漫游" },
  play_stop: { en: "Stop", zh: "停止" },
  play_grid: { en: "64 at once", zh: "一次 64 张" },
  play_keys: { en: "Keys: {n} new latent, {w} walk, {g} 64 at once", zh: "按键：{n} 新的潜变量，{w} 漫游，{g} 一次 64 张" },
  play_keys_class: {
    en: "Keys: {n} new latent, {w} walk, {g} 64 at once, 0 to 9 the class",
    zh: "按键：{n} 新的潜变量，{w} 漫游，{g} 一次 64 张，0 到 9 选择类别",
  },
  play_class: { en: "class", zh: "类别" },
  play_pad: { en: "Move the pointer: the latent follows along two random directions.", zh: "移动指针：潜变量沿两个随机方向移动。" },
  play_turn: { en: "Other directions", zh: "换两个方向" },
  play_bars: { en: "input: {num} numbers. Drag any of them, or use the arrow keys.", zh: "输入：{num} 个数，可以拖动其中任何一个，也可以用方向键。" },
  play_speed: { en: "one pass through the network: {ms} ms", zh: "通过网络一次：{ms} 毫秒" },
  play_grid_caption: { en: "64 random latents. Click one, or use the arrow keys, to continue with it.", zh: "64 个随机潜变量。点一张或用方向键选一张，就从它继续。" },
  play_grid_caption_class: {
    en: "64 random latents and classes. Click one, or use the arrow keys, to continue with it.",
    zh: "64 个随机的潜变量和类别。点一张或用方向键选一张，就从它继续。",
  },
  play_grid_label: { en: "Grid of 64 images: the arrow keys choose one", zh: "64 张图像：方向键选择一张" },
  pad_label: { en: "Pad: the arrow keys move the latent along two directions", zh: "触控板：方向键让潜变量沿两个方向移动" },
  bars_label: { en: "The numbers of the latent: left and right choose one, up and down change it", zh: "潜变量的各个数：左右方向键选择一个，上下方向键改变它" },
};
