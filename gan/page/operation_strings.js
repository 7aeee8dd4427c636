// The texts of the section "The operation"; {names} are filled in.

export const strings = {
  op_intro: {
    en: "Each element of the {input} multiplies the whole {kernel}. The products, a copy of the kernel, are added to a window of the {output}. Change any number or slider, point at any cell.",
    zh: "{input}的每个元素乘以整个{kernel}，得到卷积核的一份副本，再加到{output}的一个窗口里。任何数字和滑块都可以改，任何格子都可以指。",
  },
  op_input: { en: "input", zh: "输入" },
  op_kernel: { en: "kernel", zh: "卷积核" },
  op_output: { en: "output", zh: "输出" },

  op_presets: { en: "Examples", zh: "例子" },
  op_preset_lesson: { en: "2 × 2, the lesson's", zh: "课文的 2 × 2" },
  op_preset_stride: { en: "stride 2: copies touch", zh: "步幅 2：副本相接" },
  op_preset_gaps: { en: "stride 3: gaps", zh: "步幅 3：空隙" },
  op_preset_double: { en: "k4 s2 p1: twice the size", zh: "k4 s2 p1：放大一倍" },
  op_preset_checkerboard: { en: "k3 s2: checkerboard", zh: "k3 s2：棋盘格" },
  op_preset_dcgan: { en: "k5 s2 p2 op1: DCGAN's code", zh: "k5 s2 p2 op1：DCGAN 的代码" },
  op_preset_dilation: { en: "dilation 2", zh: "膨胀 2" },

  op_settings: { en: "Settings", zh: "设置" },
  op_n: { en: "input size", zh: "输入大小" },
  op_k: { en: "kernel size", zh: "卷积核大小" },
  op_s: { en: "stride", zh: "步幅" },
  op_p: { en: "padding", zh: "填充" },
  op_op: { en: "output padding", zh: "输出填充" },
  op_d: { en: "dilation", zh: "膨胀" },
  op_n_hint: { en: "rows and columns", zh: "行数和列数" },
  op_k_hint: { en: "rows and columns", zh: "行数和列数" },
  op_s_hint: { en: "spacing in the output", zh: "副本在输出上的间距" },
  op_p_hint: { en: "frame removed from the output", zh: "从输出四周裁掉的圈数" },
  op_op_hint: { en: "rows kept below and right", zh: "下方和右侧多保留的行列" },
  op_d_hint: { en: "spacing of the taps", zh: "核元素之间的间距" },
  op_numbers: { en: "Numbers", zh: "数值" },
  op_pattern: { en: "0 to 3", zh: "0 到 3" },
  op_ones: { en: "all 1", zh: "全为 1" },
  op_random: { en: "random", zh: "随机" },
  op_link: { en: "Link to these settings", zh: "这组设置的链接" },

  op_formula_words: {
    en: "{size} size = ({n} − 1) · {s} + {d} · ({k} − 1) + 1 − 2 · {p} + {op}",
    zh: "{size}大小 = （{n} − 1）· {s} + {d} ·（{k} − 1）+ 1 − 2 · {p} + {op}",
  },
  op_formula: {
    en: "= ({n} − 1) · {s} + {d} · ({k} − 1) + 1 − 2 · {p} + {op} = {size}",
    zh: "= ({n} − 1) · {s} + {d} · ({k} − 1) + 1 − 2 · {p} + {op} = {size}",
  },
  op_invalid_op: {
    en: "Output padding {op} must be smaller than the stride ({s}) or the dilation ({d}): lower it, or raise one of them.",
    zh: "输出填充 {op} 必须小于步幅（{s}）或膨胀（{d}）：请减小它，或增大其中之一。",
  },
  op_invalid_size: {
    en: "The output would have {size} rows: padding removes more than there is. Lower the padding, or raise another setting.",
    zh: "输出会有 {size} 行：填充裁掉的比现有的还多。请减小填充，或增大其他设置。",
  },
  op_still: { en: "The picture still shows {setting}.", zh: "图中仍是 {setting}。" },
  op_bad_number: {
    en: "“{text}” is not a number from −99 to 99; the last valid number stays.",
    zh: "“{text}”不是 −99 到 99 之间的数；保留上一个有效的数。",
  },

  op_caption_input: { en: "input {n} × {n}", zh: "输入 {n} × {n}" },
  op_caption_kernel: { en: "kernel {k} × {k}", zh: "卷积核 {k} × {k}" },
  op_caption_output: { en: "output {size} × {size}", zh: "输出 {size} × {size}" },
  op_cell_input: { en: "input, row {row}, column {col}", zh: "输入，第 {row} 行，第 {col} 列" },
  op_cell_kernel: { en: "kernel, row {row}, column {col}", zh: "卷积核，第 {row} 行，第 {col} 列" },
  op_cell_cropped: { en: "{value}, removed by padding", zh: "{value}，被填充裁掉" },
  op_frame_note: {
    en: "Hatched: the frame that padding removes.",
    zh: "斜线：被填充裁掉的一圈。",
  },

  op_first: { en: "Start", zh: "开头" },
  op_back: { en: "Back", zh: "后退" },
  op_play: { en: "Play", zh: "播放" },
  op_pause: { en: "Pause", zh: "暂停" },
  op_step: { en: "Step", zh: "前进" },
  op_last: { en: "End", zh: "结尾" },
  op_steps: { en: "Copies", zh: "逐份相加" },
  op_at_start: {
    en: "Nothing is added yet. A copy follows for each of the {total} input elements.",
    zh: "还没有相加。{total} 个输入元素各有一份副本。",
  },
  op_at_copy: {
    en: "Copy {count} of {total}: {input} times the kernel, added from row {row}, column {col} = stride · ({i}, {j}).",
    zh: "第 {count} 份，共 {total} 份：{input} 乘以卷积核，从第 {row} 行第 {col} 列开始相加，即 stride · ({i}, {j})。",
  },
  op_at_end: { en: "Every copy is added.", zh: "副本已全部相加。" },
  op_at_end_padding: {
    en: "Every copy is added, and padding has removed a frame of {p}.",
    zh: "副本已全部相加，填充裁掉了 {p} 圈。",
  },
  op_at_end_output_padding: {
    en: "Output padding keeps {op} more below and to the right.",
    zh: "输出填充在下方和右侧多保留 {op} 行（列）。",
  },

  op_point_hint: {
    en: "Point at an output element to see the products that make it, or at an input element to see its copy.",
    zh: "指向输出元素，可以看到组成它的乘积；指向输入元素，可以看到它的副本。",
  },
  op_sum: { en: "{output} = {products} = {sum}", zh: "{output} = {products} = {sum}" },
  op_sum_so_far: {
    en: "{output} = {products}; {sum} so far",
    zh: "{output} = {products}；目前是 {sum}",
  },
  op_sum_empty: { en: "{output} = 0: no copy reaches it.", zh: "{output} = 0：没有副本写到这里。" },
  op_sum_cropped: { en: "Padding removes this element.", zh: "这个元素被填充裁掉。" },
  op_point_input: {
    en: "{input} writes its copy of the kernel from row {row}, column {col} of the output before padding.",
    zh: "{input} 的副本从裁剪前输出的第 {row} 行第 {col} 列开始写入。",
  },
  op_point_kernel: {
    en: "{kernel} multiplies every input element; the products land {s} apart in the output.",
    zh: "{kernel} 与每个输入元素相乘；乘积在输出中相距 {s} 格。",
  },

  op_views: { en: "The same numbers in other ways", zh: "同样的数值，另外的算法" },
  op_tab_matrix: { en: "As a matrix", zh: "矩阵" },
  op_tab_zeros: { en: "Zero insertion", zh: "插零" },
  op_tab_gradient: { en: "As a gradient", zh: "梯度" },
  op_tab_overlap: { en: "Overlap", zh: "重叠" },

  op_matrix_text: {
    en: "Both maps flattened, the operation is one matrix: a row for each output element, a column for each input element. It is the transpose of the matrix of the convolution with the same settings; hence the name. A row holds the taps that an output element collects; a column is one copy of the kernel.",
    zh: "把两张图展平，这个运算就是一个矩阵：每个输出元素一行，每个输入元素一列。它是同样设置的卷积的矩阵的转置，“转置卷积”由此得名。一行是一个输出元素收集的核元素，一列是卷积核的一份副本。",
  },
  op_matrix_caption: {
    en: "matrix {rows} × {cols}, times the input, is the output",
    zh: "矩阵 {rows} × {cols}，乘以输入，得到输出",
  },
  op_matrix_large: {
    en: "Too large for numbers: green is a tap, stronger for a larger one. Point at a row.",
    zh: "太大，不写数值：绿色是核元素，颜色越浓，数值越大。可以指向一行。",
  },
  op_times: { en: "times", zh: "乘以" },

  op_zeros_text: {
    en: "Insert zeros between the elements of the input (stride − 1 = {gap}) and around them (dilation · (kernel − 1) − padding = {frame}), turn the kernel by 180°, and convolve with stride 1 and the same dilation. Each output element now collects the products that the copies would add to it.",
    zh: "在输入的元素之间插零（stride − 1 = {gap} 个），四周补零（dilation · (kernel − 1) − padding = {frame} 圈），把卷积核旋转 180°，再做步幅为 1、膨胀不变的卷积。原来由副本加到一个输出元素上的乘积，现在由它自己来收集。",
  },
  op_zeros_crop: {
    en: "Below 0, nothing is added around: {cut} rows and columns are cut off at each side instead.",
    zh: "这里小于 0：四周不补零，而是每侧裁掉 {cut} 行和列。",
  },
  op_zeros_extra: {
    en: "Output padding adds {op} below and to the right.",
    zh: "输出填充使下方和右侧再多 {op} 行（列）。",
  },
  op_caption_spread: { en: "input with zeros {size} × {size}", zh: "插零后的输入 {size} × {size}" },
  op_caption_flipped: { en: "kernel, turned by 180°", zh: "旋转 180° 的卷积核" },

  op_gradient_text: {
    en: "A convolution y = conv(x) with this kernel, stride, padding and dilation reads an image x of the output's size. Given dL/dy, the gradient dL/dx is the transposed convolution of dL/dy: backpropagation sends each number back to the pixels that it was computed from. The frame that padding adds to x is the frame that it removes from dL/dx.",
    zh: "用这个卷积核、步幅、填充和膨胀做卷积 y = conv(x)，图像 x 的大小就是输出的大小。已知 dL/dy，梯度 dL/dx 就是 dL/dy 的转置卷积：反向传播把每个数送回计算它时读取的那些像素。填充给 x 补的一圈，就是从 dL/dx 裁掉的一圈。",
  },
  op_caption_dy: { en: "dL/dy {n} × {n}", zh: "dL/dy {n} × {n}" },
  op_caption_dx: { en: "dL/dx {size} × {size}", zh: "dL/dx {size} × {size}" },
  op_code: { en: "Check it in PyTorch", zh: "用 PyTorch 核对" },

  op_caption_counts: { en: "products per output element", zh: "每个输出元素得到的乘积个数" },
  op_caption_large: {
    en: "the same layer on a map of {n} × {n} ones, all taps 1",
    zh: "同一层作用于 {n} × {n} 的全 1 图，核元素全为 1",
  },
  op_even: {
    en: "Stride {s} divides kernel {k}: away from the border every element receives {counts} products.",
    zh: "步幅 {s} 整除卷积核 {k}：除了边界，每个元素都得到 {counts} 个乘积。",
  },
  op_uneven: {
    en: "Stride {s} does not divide kernel {k}: away from the border the elements receive {counts} products in turn. This is the checkerboard.",
    zh: "步幅 {s} 不能整除卷积核 {k}：除了边界，元素交替得到 {counts} 个乘积，这就是棋盘格。",
  },
  op_even_dilated: {
    en: "The taps, {d} apart, are spread evenly over the remainders by stride {s}: away from the border every element receives {counts} products.",
    zh: "相距 {d} 的核元素对步幅 {s} 的余数分布均匀：除了边界，每个元素都得到 {counts} 个乘积。",
  },
  op_uneven_dilated: {
    en: "The taps, {d} apart, are spread unevenly over the remainders by stride {s}: away from the border the elements receive {counts} products in turn. This is the checkerboard.",
    zh: "相距 {d} 的核元素对步幅 {s} 的余数分布不均匀：除了边界，元素交替得到 {counts} 个乘积，这就是棋盘格。",
  },
  op_gaps: {
    en: "Elements with 0 products are gaps: no copy reaches them.",
    zh: "个数为 0 的元素是空隙：没有副本写到那里。",
  },
};
