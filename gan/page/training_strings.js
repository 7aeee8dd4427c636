// The texts of the section "Training"; {names} are filled in.

export const strings = {
  training_intro: {
    en: "The same latents at every stage of the training. The discriminator D learns to tell real images from generated ones, the generator to be taken for real by D.",
    zh: "同一组潜变量在训练各个阶段的样子。判别器 D 学习区分真实图像和生成的图像，生成器学习让 D 信以为真。",
  },
  training_slider: { en: "Stage of the training", zh: "训练阶段" },
  training_play: { en: "Play the training", zh: "播放训练" },
  training_pause: { en: "Pause", zh: "暂停" },
  training_caption: { en: "after step {step}: {images} real images seen", zh: "第 {step} 步之后：已见过 {images} 张真实图像" },
  training_curves: { en: "How real D takes {real} and {fake} to be", zh: "D 认为{real}和{fake}有多真" },
  training_real: { en: "real images, D(x)", zh: "真实图像 D(x)" },
  training_fake: { en: "generated images, D(G(z))", zh: "生成的图像 D(G(z))" },
  training_reading: {
    en: "1: surely real, 0: surely generated. If D could not tell them apart, both would be 0.5; that they stay apart is normal, as long as the images improve.",
    zh: "1：肯定真实；0：肯定是生成的。如果 D 完全分不清，两条曲线都在 0.5；只要图像还在变好，两条曲线保持距离是正常的。",
  },
  training_images: { en: "{num} images", zh: "{num} 张图像" },
  training_chart: {
    en: "Curves of D(x) and D(G(z)) over the training; a line marks the grid that is shown",
    zh: "训练中 D(x) 和 D(G(z)) 的曲线；竖线标出正在显示的图像",
  },
};
