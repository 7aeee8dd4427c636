// The texts of the page around its sections; {names} are filled in.

export const strings = {
  title: { en: "See a generator work", zh: "看生成器如何工作" },
  about: {
    en: "{name} is the generator of a DCGAN: it turns {numbers} random numbers into an image of {height} × {width} pixels by {layers} transposed convolutions. It has learned that from {source} and runs here, in your browser; nothing leaves this page.",
    zh: "{name} 是一个 DCGAN 的生成器：它用 {layers} 层转置卷积把 {numbers} 个随机数变成一张 {height} × {width} 像素的图像。它从{source}中学会了这件事，现在就在您的浏览器里运行；任何数据都不会离开本页。",
  },
  source_mnist: { en: "60,000 handwritten digits (MNIST)", zh: "60,000 个手写数字（MNIST）" },
  source_mnist5k: { en: "5,000 handwritten digits (MNIST)", zh: "5,000 个手写数字（MNIST）" },
  source_stacked_mnist: { en: "three handwritten digits as three colours (Stacked-MNIST)", zh: "以三种颜色叠放的三个手写数字（Stacked-MNIST）" },
  source_synthetic: { en: "drawn discs and squares", zh: "绘制的圆和方块" },
  source_fashion_mnist: { en: "photographs of clothes (Fashion-MNIST)", zh: "服装照片（Fashion-MNIST）" },
  source_cifar10: { en: "photographs of ten kinds of things (CIFAR-10)", zh: "十类物体的照片（CIFAR-10）" },
  source_celeba: { en: "photographs of faces (CelebA)", zh: "人脸照片（CelebA）" },
  source_other: { en: "a folder of images", zh: "一个图像文件夹" },
  source_unknown: { en: "images that its file does not name", zh: "文件中没有说明的图像" },
  lesson: { en: "The lesson explains every operation.", zh: "每一种运算，课文里都有讲解。" },
  skip: { en: "Skip to the image", zh: "跳到图像" },
  sections: { en: "Sections", zh: "各部分" },
  play_title: { en: "Play", zh: "玩一玩" },
  layers_title: { en: "Layer by layer", zh: "逐层观察" },
  operation_title: { en: "The operation", zh: "这种运算" },
  training_title: { en: "Training", zh: "训练过程" },
  digit_title: { en: "Draw your own", zh: "自己画一个" },
  drop_title: { en: "Your own generator", zh: "换成你的生成器" },
  theme_light: { en: "Light", zh: "浅色" },
  theme_dark: { en: "Dark", zh: "深色" },
  theme_label: { en: "Change to light or dark colours", zh: "切换浅色或深色" },
  broken: {
    en: "The network could not be started in this browser: {reason}",
    zh: "网络无法在此浏览器中启动：{reason}",
  },
};
