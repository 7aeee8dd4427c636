// The texts of the section "Layer by layer"; {names} are filled in.

export const strings = {
  layers_intro: {
    en: "Each square is a channel: a map of numbers, black for 0. Every layer is a transposed convolution: its {input} is the level above, its {output} the level below. Point at any number: the numbers that feed it light up, in every channel of the level above, and the panel shows the products with the {kernel} and their sum. Point at a number of the input in the panel: it multiplies the whole kernel and leaves that copy, its stamp, in the output.",
    zh: "每个方块是一个通道，也就是一张由数组成的图，黑色为 0。每一层都是一次转置卷积：它的{input}是上面一级，{output}是下面一级。指向任何一个数：上面一级每个通道里参与计算它的数都会亮起来，面板里列出它们与{kernel}的乘积以及总和。在面板里指向输入中的一个数：它乘以整个卷积核，并把这份副本留在输出里。",
  },
  layers_input: { en: "input", zh: "输入" },
  layers_output: { en: "output", zh: "输出" },
  layers_kernel: { en: "kernel", zh: "卷积核" },
  layers_input_level: { en: "The latent: {channels} of one number each; purple is below 0", zh: "潜变量：{channels}，每个只有一个数；紫色为负" },
  layers_input_class: {
    en: "The latent, then the vector of the class: {channels} of one number each; purple is below 0",
    zh: "潜变量，然后是类别的向量：{channels}，每个只有一个数；紫色为负",
  },
  layers_one: { en: "{num} channel", zh: "{num} 个通道" },
  layers_many: { en: "{num} channels", zh: "{num} 个通道" },
  layers_level: {
    en: "Layer {level}: {channels}, {height} × {width} · kernel {kernel}, stride {stride}, padding {padding} · {numbers} weights · {activation}",
    zh: "第 {level} 层：{channels}，{height} × {width} · 卷积核 {kernel}，步幅 {stride}，填充 {padding} · {numbers} 个权重 · {activation}",
  },
  layers_level_label: {
    en: "Level {level}: {channels}, {height} × {width}. Arrow keys move from number to number, Enter is a click.",
    zh: "第 {level} 级：{channels}，{height} × {width}。方向键逐个移动，回车等于点击。",
  },
  layers_link: { en: "try it", zh: "试一试" },
  layers_click: { en: "A click", zh: "点击" },
  layers_examine: { en: "keeps the number", zh: "固定这个数" },
  layers_switch: { en: "switches the channel off", zh: "关闭这个通道" },
  layers_release: { en: "Follow the pointer again", zh: "重新跟随指针" },
  layers_off: { en: "Switch channel {channel} off", zh: "关闭通道 {channel}" },
  layers_on: { en: "Switch channel {channel} on", zh: "打开通道 {channel}" },
  layers_all_on: { en: "All channels on", zh: "打开所有通道" },
  layers_move: { en: "Move the latent", zh: "移动潜变量" },
  micro_label: { en: "One number and what feeds it", zh: "一个数和参与计算它的数" },
  micro_title: { en: "Layer {level}, channel {channel}", zh: "第 {level} 层，通道 {channel}" },
  micro_input: { en: "input: channel {channel}, {size}", zh: "输入：通道 {channel}，{size}" },
  micro_output: { en: "output: channel {channel}, {size}", zh: "输出：通道 {channel}，{size}" },
  micro_kernel: { en: "kernel {size}, from {from} to {to}", zh: "卷积核 {size}，从 {from} 到 {to}" },
  micro_from: { en: "Input channel {channel} adds", zh: "输入通道 {channel} 贡献" },
  micro_none: { en: "No input feeds this number.", zh: "没有输入参与计算这个数。" },
  micro_sums: { en: "What each input channel adds. Point at a bar to see its products.", zh: "每个输入通道的贡献。指向一条就能看到它的乘积。" },
  micro_total_relu: {
    en: "All {channels} channels together {total}, with the bias {bias} it is {sum}; ReLU makes it {value} at ({row}, {col}).",
    zh: "全部 {channels} 个通道相加为 {total}，加上偏置 {bias} 得 {sum}；ReLU 之后，({row}, {col}) 处为 {value}。",
  },
  micro_total_off: {
    en: "All {channels} channels together {total}, with the bias {bias} it is {sum}; the channel is off, so it is {value} at ({row}, {col}).",
    zh: "全部 {channels} 个通道相加为 {total}，加上偏置 {bias} 得 {sum}；这个通道已关闭，所以 ({row}, {col}) 处为 {value}。",
  },
  micro_total_tanh: {
    en: "All {channels} channels together {total}, with the bias {bias} it is {sum}; tanh makes it {value} at ({row}, {col}), from −1, black, to 1, white.",
    zh: "全部 {channels} 个通道相加为 {total}，加上偏置 {bias} 得 {sum}；tanh 之后，({row}, {col}) 处为 {value}（−1 为黑，1 为白）。",
  },
  micro_stamp: {
    en: "Input ({row}, {col}) is {value}. It multiplies the whole kernel and adds the copy, its stamp, to {num} outputs.",
    zh: "输入 ({row}, {col}) 为 {value}。它乘以整个卷积核，得到的副本加到 {num} 个输出上。",
  },
  drew_title: { en: "What channel {channel} of layer {level} draws", zh: "第 {level} 层的通道 {channel} 画了什么" },
  drew_title_off: { en: "What the channels that are off would draw", zh: "被关闭的通道本来会画什么" },
  drew_with: { en: "all channels", zh: "所有通道" },
  drew_without: { en: "without", zh: "去掉之后" },
  drew_difference: { en: "difference; grey: none", zh: "差别；灰色为无" },
};
