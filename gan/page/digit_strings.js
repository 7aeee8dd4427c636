// The texts of the section "Draw your own"; {names} are filled in.

export const strings = {
  digit_intro: {
    en: "Draw a digit. It is scaled and centred as the digits of the training were. Then the page looks for the latent whose image is nearest to it: gradient descent through G, whose backward pass is a convolution, the adjoint of the operation above.",
    zh: "画一个数字。它会像训练用的数字那样缩放并居中。然后本页寻找图像与它最接近的潜变量：沿 G 做梯度下降，而 G 的反向传播就是一次卷积，也就是上面那种运算的伴随。",
  },
  digit_intro_other: {
    en: "Draw something. Then the page looks for the latent whose image is nearest to it: gradient descent through G, whose backward pass is a convolution, the adjoint of the operation above.",
    zh: "画点什么。然后本页寻找图像与它最接近的潜变量：沿 G 做梯度下降，而 G 的反向传播就是一次卷积，也就是上面那种运算的伴随。",
  },
  digit_paper: { en: "Draw here", zh: "在这里画" },
  digit_clear: { en: "Clear", zh: "清除" },
  digit_example: { en: "An example", zh: "示例" },
  digit_given: { en: "yours, as G and D get it", zh: "您画的（G 和 D 看到的样子）" },
  digit_nearest: { en: "the nearest of G", zh: "G 能画的最接近的" },
  digit_difference: { en: "difference; grey: none", zh: "差别；灰色为无" },
  digit_status: { en: "Step {step} of {steps}: {error} grey levels apart (root mean square).", zh: "第 {step} / {steps} 步：相差 {error} 个灰度级（均方根）。" },
  digit_status_class: {
    en: "Step {step} of {steps}: class {name}, {error} grey levels apart (root mean square).",
    zh: "第 {step} / {steps} 步：类别 {name}，相差 {error} 个灰度级（均方根）。",
  },
  digit_show: { en: "Continue with this latent", zh: "从这个潜变量继续" },
  digit_opinion: { en: "How real D takes it to be: 0 generated, 1 real", zh: "D 认为它有多真：0 为生成，1 为真实" },
  digit_d_mine: { en: "yours", zh: "您画的" },
  digit_d_nearest: { en: "the nearest of G", zh: "G 能画的最接近的" },
  digit_d_compared: { en: "100 of G, most of them", zh: "G 的 100 张（大多数）" },
  digit_caution: {
    en: "D has only learned to tell the images of this G from real ones. Of a scribble that is neither it knows nothing, and may be sure that it is real.",
    zh: "D 只学过区分这个 G 的图像和真实图像。对两者都不是的涂鸦它一无所知，也可能坚信那是真的。",
  },
};
