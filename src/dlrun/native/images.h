// Layers of images and signals: convolutions, pooling, repeated pixels. A row is [channels][height][width]; a signal has height 1.
//
// As in layers.h every sum has one order, whatever the tiling: over inputs, then rows of the kernel, then its columns in a
// convolution and its input's gradient; over rows of the batch, then rows and columns of the image in the gradient of a weight.
#ifndef DLRUN_IMAGES_H
#define DLRUN_IMAGES_H

#include "layers.h"
#include "words.h"

typedef struct {
  long channels, height, width;                  // that come in
  long filters, out_height, out_width;           // that come out
  long kernel_height, kernel, stride, padding_height, padding;
} Convolution;

INLINE long padded_height(const Convolution *c) { return c->height + 2 * c->padding_height; }
INLINE long padded_width(const Convolution *c) { return c->width + 2 * c->padding; }
INLINE long area(const Convolution *c) { return c->kernel_height * c->kernel; }
INLINE long inside(const Convolution *c) { return c->channels * padded_height(c) * padded_width(c); }

// The gradient of the output with a border, as the gradient of the input reads it where the stride is 1
INLINE long border_height(const Convolution *c) { return c->kernel_height - 1 - c->padding_height; }
INLINE long border(const Convolution *c) { return c->kernel - 1 - c->padding; }
INLINE int mirrored(const Convolution *c) { return c->stride == 1 && border_height(c) >= 0 && border(c) >= 0; }
INLINE long outside(const Convolution *c) {
  if (!mirrored(c)) return inside(c);
  return c->filters * (c->out_height + 2 * border_height(c)) * (c->out_width + 2 * border(c));
}

// Numbers that a batch keeps for the way back: its rows with their border, and space for the gradient of one
INLINE long convolution_keeps(const Convolution *c, long rows) { return rows * inside(c) + outside(c); }

// Images [channels][height][width] with a border of zeros around each, which `to` has already
static void frame(const vf *x, vf *to, long channels, long height, long width, long above, long beside) {
  const long wide = width + 2 * beside, high = height + 2 * above;
  for (long c = 0; c < channels; c++)
    for (long i = 0; i < height; i++)
      memcpy(to + (c * high + i + above) * wide + beside, x + (c * height + i) * width, (size_t)width * sizeof *x);
}

// `columns` neighbours of one row of the output, of `filters` filters. `along` is how far apart the weights of two filters are,
// `channel` those of two channels; `step` is from one weight to the next, -1 where the kernel is mirrored.
INLINE void convolve_tile(const vf *x, const vf *w, const vf *bias, vf *y, const Convolution *c, long channels, long high, long wide,
                          long channel, long along, long step, const long stride, long out, const int columns, const int filters) {
  vp sum[4][4], pixels[4];
  for (int f = 0; f < filters; f++)
    for (int j = 0; j < PAIRS(columns); j++) sum[j][f] = both(bias ? bias[f] : splat(0.0f));
  for (long k = 0; k < channels; k++)
    for (long p = 0; p < c->kernel_height; p++)
      for (long q = 0; q < c->kernel; q++) {
        const vf *from = x + (k * high + p) * wide + q, *weight = w + k * channel + (p * c->kernel + q) * step;
        for (int j = 0; j < PAIRS(columns); j++) pixels[j] = pair_of(from + j * PAIR * stride, stride, HALF(j, columns));
        for (int f = 0; f < filters; f++) {
          const vp each = both(weight[f * along]);
          for (int j = 0; j < PAIRS(columns); j++) sum[j][f] = mad_pair(pixels[j], each, sum[j][f]);
        }
      }
  for (int f = 0; f < filters; f++)
    for (int j = 0; j < PAIRS(columns); j++) put_pair(sum[j][f], y + f * out + j * PAIR, 1, HALF(j, columns));
}

// One image. x is framed; y [filters][out_height][out_width]
INLINE void convolve_by(const vf *x, const vf *w, const vf *bias, vf *y, const Convolution *c, long channels, long high, long wide,
                        long channel, long filters, long along, long step, const long stride, long out_height, long out_width) {
#define TILE(columns)                                                                                                             \
  do {                                                                                                                            \
    const vf *from = x + i * stride * wide + j * stride;                                                                          \
    vf *to = y + f * out + i * out_width + j;                                                                                     \
    if (many)                                                                                                                     \
      convolve_tile(from, weight, own, to, c, channels, high, wide, channel, along, step, stride, out, columns, WIDE ? 4 : 2);    \
    else                                                                                                                          \
      convolve_tile(from, weight, own, to, c, channels, high, wide, channel, along, step, stride, out, columns, 1);               \
  } while (0)
  const long out = out_height * out_width;
  for (long f = 0; f < filters;) {
    const int many = f + (WIDE ? 4 : 2) <= filters;
    const vf *weight = w + f * along, *own = bias ? bias + f : NULL;
    for (long i = 0; i < out_height; i++) {
      long j = 0;
      for (; j + 4 * PAIR <= out_width; j += 4 * PAIR) TILE(4 * PAIR);
      LEFT_OVER(out_width - j, TILE)
    }
    f += many ? (WIDE ? 4 : 2) : 1;
  }
#undef TILE
}

static void convolve(const vf *x, const vf *w, const vf *bias, vf *y, const Convolution *c, long channels, long high, long wide,
                     long channel, long filters, long along, long step, long stride, long out_height, long out_width) {
  if (stride == 1) // neighbours are loaded as one pair
    return convolve_by(x, w, bias, y, c, channels, high, wide, channel, filters, along, step, 1, out_height, out_width);
  convolve_by(x, w, bias, y, c, channels, high, wide, channel, filters, along, step, stride, out_height, out_width);
}

static void keep_words_framed(const Convolution *c, const vi *words, vf *framed) {
  for (long k = 0; k < c->channels; k++)
    for (long t = 0; t < c->width; t++) {
      vf *at = framed + k * padded_width(c) + c->padding + t;
      *at = where_word(words[t], *at);
    }
}

// Weights [filters][channels][kernel_height][kernel]. `kept` has convolution_keeps numbers, whose borders are 0. With `words`
// [rows][width] a row is a sequence, and what stands where there is no word counts as 0.
static void convolution_forward(const Convolution *c, const vf *w, const vf *bias, const vf *x, const vi *words, vf *y, vf *kept,
                                long rows) {
  const long channel = area(c), along = c->channels * channel;
  for (long i = 0; i < rows; i++) {
    vf *framed = kept + i * inside(c);
    frame(x + i * c->channels * c->height * c->width, framed, c->channels, c->height, c->width, c->padding_height, c->padding);
    if (words) keep_words_framed(c, words + i * c->width, framed);
    convolve(framed, w, bias, y + i * c->filters * c->out_height * c->out_width, c, c->channels, padded_height(c), padded_width(c),
             channel, c->filters, along, 1, c->stride, c->out_height, c->out_width);
  }
}

// The sums of one image for `filters` filters and `columns` columns of a row of the kernel, added to those of the images before
INLINE void weight_sums(const vf *x, const vf *dy, vf *dw, const Convolution *c, long along, const int filters, const int columns) {
  const long wide = padded_width(c), out = c->out_height * c->out_width;
  vp sum[4][3], slope[4];
  for (int f = 0; f < PAIRS(filters); f++)
    for (int q = 0; q < columns; q++) sum[f][q] = pair_of(dw + f * PAIR * along + q, along, HALF(f, filters));
  for (long i = 0; i < c->out_height; i++)
    for (long j = 0; j < c->out_width; j++) {
      const vf *from = x + i * c->stride * wide + j * c->stride, *grad = dy + i * c->out_width + j;
      for (int f = 0; f < PAIRS(filters); f++) slope[f] = pair_of(grad + f * PAIR * out, out, HALF(f, filters));
      for (int q = 0; q < columns; q++) {
        const vp value = both(from[q]);
        for (int f = 0; f < PAIRS(filters); f++) sum[f][q] = mad_pair(value, slope[f], sum[f][q]);
      }
    }
  for (int f = 0; f < PAIRS(filters); f++)
    for (int q = 0; q < columns; q++) put_pair(sum[f][q], dw + f * PAIR * along + q, along, HALF(f, filters));
}

// Of one channel and one row of the kernel
INLINE void weight_row(const vf *x, const vf *dy, vf *dw, const Convolution *c, long along, const int filters) {
  long q = 0;
  for (; q + 3 <= c->kernel; q += 3) weight_sums(x + q, dy, dw + q, c, along, filters, 3);
  for (; q < c->kernel; q++) weight_sums(x + q, dy, dw + q, c, along, filters, 1);
}

static void convolution_weights(const Convolution *c, const vf *kept, const vf *dy, vf *dw, vf *db, long rows) {
  const long out = c->out_height * c->out_width, along = c->channels * area(c);
  memset(dw, 0, (size_t)(c->filters * along) * sizeof *dw);
  memset(db, 0, (size_t)c->filters * sizeof *db);
  for (long b = 0; b < rows; b++) {
    const vf *x = kept + b * inside(c), *grad = dy + b * c->filters * out;
    for (long f = 0; f < c->filters; f++)
      for (long i = 0; i < out; i++) db[f] += grad[f * out + i];
    for (long k = 0; k < c->channels; k++)
      for (long p = 0; p < c->kernel_height; p++) {
        const vf *from = x + (k * padded_height(c) + p) * padded_width(c);
        vf *to = dw + (k * c->kernel_height + p) * c->kernel;
        long f = 0;
#define TILE(filters) weight_row(from, grad + f * out, to + f * along, c, along, filters)
        for (; f + 4 * PAIR <= c->filters; f += 4 * PAIR) TILE(4 * PAIR);
        LEFT_OVER(c->filters - f, TILE)
#undef TILE
      }
  }
}

// The gradient of one image's input where kernels do not overlap as those of stride 1 do: each output adds to what it was made of
static void scatter(const Convolution *c, const vf *w, const vf *dy, vf *dx, vf *framed) {
  const long high = padded_height(c), wide = padded_width(c);
  memset(framed, 0, (size_t)inside(c) * sizeof *framed);
  for (long f = 0; f < c->filters; f++)
    for (long i = 0; i < c->out_height; i++)
      for (long j = 0; j < c->out_width; j++) {
        const vf each = dy[(f * c->out_height + i) * c->out_width + j];
        const vf *weight = w + f * c->channels * area(c);
        for (long k = 0; k < c->channels; k++)
          for (long p = 0; p < c->kernel_height; p++)
            for (long q = 0; q < c->kernel; q++) {
              vf *to = framed + (k * high + i * c->stride + p) * wide + j * c->stride + q;
              *to = mad(each, *weight++, *to);
            }
      }
  for (long k = 0; k < c->channels; k++)
    for (long i = 0; i < c->height; i++)
      memcpy(dx + (k * c->height + i) * c->width, framed + (k * high + i + c->padding_height) * wide + c->padding,
             (size_t)c->width * sizeof *dx);
}

static void convolution_inputs(const Convolution *c, const vf *w, const vf *dy, vf *dx, vf *kept, long rows) {
  vf *space = kept + rows * inside(c);
  const long out = c->filters * c->out_height * c->out_width, in = c->channels * c->height * c->width;
  const long high = c->out_height + 2 * border_height(c), wide = c->out_width + 2 * border(c), channel = area(c);
  for (long i = 0; i < rows; i++) {
    if (!mirrored(c)) {
      scatter(c, w, dy + i * out, dx + i * in, space);
      continue;
    }
    memset(space, 0, (size_t)outside(c) * sizeof *space);
    frame(dy + i * out, space, c->filters, c->out_height, c->out_width, border_height(c), border(c));
    // a convolution with channels and filters exchanged and the kernel read from its end
    convolve(space, w + channel - 1, NULL, dx + i * in, c, c->filters, high, wide, c->channels * channel, c->channels, channel, -1, 1,
             c->height, c->width);
  }
}

// Pooling: windows of height x width that do not overlap. `which` is the place of the largest in its window; the first of equals,
// and a NaN where there is one.

typedef struct {
  long channels, height, width, window_height, window;
} Pool;

static void pool_forward(const Pool *p, const vf *x, vf *y, vf *which, long rows) {
  const long out_height = p->height / p->window_height, out_width = p->width / p->window;
  for (long image = 0; image < rows * p->channels; image++)
    for (long i = 0; i < out_height; i++)
      for (long j = 0; j < out_width; j++) {
        const vf *from = x + (image * p->height + i * p->window_height) * p->width + j * p->window;
        vf most = from[0];
        vi place = {};
        for (long n = 1; n < p->window_height * p->window; n++) {
          const vf other = from[n / p->window * p->width + n % p->window];
          const vi better = (other > most) | (other != other);
          most = choose(better, other, most);
          place = (better & (int32_t)n) | (~better & place);
        }
        const long at = (image * out_height + i) * out_width + j;
        y[at] = most;
        which[at] = (vf)place;
      }
}

static void pool_backward(const Pool *p, const vf *dy, const vf *which, vf *dx, long rows) {
  const long out_height = p->height / p->window_height, out_width = p->width / p->window;
  memset(dx, 0, (size_t)(rows * p->channels * p->height * p->width) * sizeof *dx);
  for (long image = 0; image < rows * p->channels; image++)
    for (long i = 0; i < out_height; i++)
      for (long j = 0; j < out_width; j++) {
        vf *to = dx + (image * p->height + i * p->window_height) * p->width + j * p->window;
        const long at = (image * out_height + i) * out_width + j;
        for (long n = 0; n < p->window_height * p->window; n++)
          to[n / p->window * p->width + n % p->window] = (vf)((vi)dy[at] & ((vi)which[at] == (int32_t)n));
      }
}

// The mean over the places of each channel

static void mean_forward(const vf *x, vf *y, long channels, long places) {
  for (long c = 0; c < channels; c++) {
    vf sum = {};
    for (long i = 0; i < places; i++) sum += x[c * places + i];
    y[c] = sum / (float)places;
  }
}

static void mean_backward(const vf *dy, vf *dx, long channels, long places) {
  for (long c = 0; c < channels; c++)
    for (long i = 0; i < places; i++) dx[c * places + i] = dy[c] / (float)places;
}

// Every pixel repeated scale x scale times

static void repeat_forward(const vf *x, vf *y, long images, long height, long width, long scale) {
  for (long i = 0; i < images * height * scale; i++)
    for (long j = 0; j < width * scale; j++) y[i * width * scale + j] = x[i / scale * width + j / scale];
}

static void repeat_backward(const vf *dy, vf *dx, long images, long height, long width, long scale) {
  for (long i = 0; i < images * height; i++)
    for (long j = 0; j < width; j++) {
      vf sum = {};
      for (long p = 0; p < scale; p++)
        for (long q = 0; q < scale; q++) sum += dy[(i * scale + p) * width * scale + j * scale + q];
      dx[i * width + j] = sum;
    }
}

#endif
