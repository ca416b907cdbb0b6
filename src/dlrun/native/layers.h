// Layers of tables: linear maps, normalization over the batch, dropout; sums of a residual connection.
//
// A batch is [rows][width] vectors. Sums run over inputs, rows and outputs in ascending order, whatever the tiling, so that a
// batch may be cut anywhere. The tile of a product is eight sums, which with what they are made of fill the sixteen registers of
// x86-64-v3, or sixteen pairs of sums for the 32 of x86-64-v4.
#ifndef DLRUN_LAYERS_H
#define DLRUN_LAYERS_H

#include "streams.h"
#include "vector.h"

// The last columns, fewer than a tile has, as a tile of their own with their number as a constant
#define LEFT_OVER(left, TILE)                                                                                                     \
  switch (left) {                                                                                                                 \
  case 1: TILE(1); break;                                                                                                         \
  case 2: TILE(2); break;                                                                                                         \
  case 3: TILE(3); break;                                                                                                         \
    WIDER(TILE)                                                                                                                   \
  }
#if WIDE
#define WIDER(TILE)                                                                                                               \
  case 4: TILE(4); break;                                                                                                         \
  case 5: TILE(5); break;                                                                                                         \
  case 6: TILE(6); break;                                                                                                         \
  case 7: TILE(7); break;
#else
#define WIDER(TILE)
#endif

// y = x w + b with w [inputs][outputs]

INLINE void linear_tile(const vf *w, const vf *b, const vf *x, vf *y, long inputs, long outputs, const int rows,
                        const int columns) {
  vp sum[4][4], weight[4];
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < PAIRS(columns); j++) sum[i][j] = pair_of(b + j * PAIR, 1, HALF(j, columns));
  for (long k = 0; k < inputs; k++) {
    for (int j = 0; j < PAIRS(columns); j++) weight[j] = pair_of(w + k * outputs + j * PAIR, 1, HALF(j, columns));
    for (int i = 0; i < rows; i++) {
      const vp value = both(x[i * inputs + k]);
      for (int j = 0; j < PAIRS(columns); j++) sum[i][j] = mad_pair(value, weight[j], sum[i][j]);
    }
  }
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < PAIRS(columns); j++) put_pair(sum[i][j], y + i * outputs + j * PAIR, 1, HALF(j, columns));
}

INLINE void linear_rows(const vf *w, const vf *b, const vf *x, vf *y, long inputs, long outputs, const int rows,
                        const int columns) {
#define TILE(columns) linear_tile(w + j, b + j, x, y + j, inputs, outputs, rows, columns)
  long j = 0;
  for (; j + columns <= outputs; j += columns) TILE(columns);
  LEFT_OVER(outputs - j, TILE)
#undef TILE
}

static void linear_forward(const vf *w, const vf *b, const vf *x, vf *y, long rows, long inputs, long outputs) {
  long i = 0;
  for (; i + 4 <= rows; i += 4) linear_rows(w, b, x + i * inputs, y + i * outputs, inputs, outputs, 4, WIDE ? 8 : 2);
  for (; i < rows; i++) linear_rows(w, b, x + i * inputs, y + i * outputs, inputs, outputs, 1, 4 * PAIR);
}

// dw [inputs][outputs] = sum over rows of x dy, and db = sum over rows of dy. Sums that are `begun` go on from what is there.

INLINE void weight_tile(const vf *x, const vf *dy, vf *dw, long rows, long inputs, long outputs, int begun, const int above,
                        const int columns) {
  vp sum[4][4] = {}, slope[4];
  for (int k = 0; begun && k < above; k++)
    for (int j = 0; j < PAIRS(columns); j++) sum[k][j] = pair_of(dw + k * outputs + j * PAIR, 1, HALF(j, columns));
  for (long i = 0; i < rows; i++) {
    for (int j = 0; j < PAIRS(columns); j++) slope[j] = pair_of(dy + i * outputs + j * PAIR, 1, HALF(j, columns));
    for (int k = 0; k < above; k++) {
      const vp value = both(x[i * inputs + k]);
      for (int j = 0; j < PAIRS(columns); j++) sum[k][j] = mad_pair(value, slope[j], sum[k][j]);
    }
  }
  for (int k = 0; k < above; k++)
    for (int j = 0; j < PAIRS(columns); j++) put_pair(sum[k][j], dw + k * outputs + j * PAIR, 1, HALF(j, columns));
}

INLINE void weight_columns(const vf *x, const vf *dy, vf *dw, long rows, long inputs, long outputs, int begun, const int above,
                           const int columns) {
  long k = 0;
  for (; k + above <= inputs; k += above) weight_tile(x + k, dy, dw + k * outputs, rows, inputs, outputs, begun, above, columns);
  for (; k < inputs; k++) weight_tile(x + k, dy, dw + k * outputs, rows, inputs, outputs, begun, 1, columns);
}

static void some_weights(const vf *x, const vf *dy, vf *dw, long rows, long inputs, long outputs, int begun) {
#define TILE(columns) weight_columns(x, dy + j, dw + j, rows, inputs, outputs, begun, 4, columns)
  long j = 0;
  for (; j + 4 * PAIR <= outputs; j += 4 * PAIR)
    weight_columns(x, dy + j, dw + j, rows, inputs, outputs, begun, WIDE ? 4 : 2, 4 * PAIR);
  LEFT_OVER(outputs - j, TILE)
#undef TILE
}

INLINE void bias_tile(const vf *dy, vf *db, long rows, long outputs, const int columns) {
  vf sum[4] = {};
  for (long i = 0; i < rows; i++)
    for (int j = 0; j < columns; j++) sum[j] += dy[i * outputs + j];
  for (int j = 0; j < columns; j++) db[j] = sum[j];
}

#define AT_ONCE 1024 // numbers of rows, to be read again and again, for which there is room in the first cache

static void linear_weights(const vf *x, const vf *dy, vf *dw, vf *db, long rows, long inputs, long outputs) {
  long j = 0;
  for (; j + 4 <= outputs; j += 4) bias_tile(dy + j, db + j, rows, outputs, 4);
  for (; j < outputs; j++) bias_tile(dy + j, db + j, rows, outputs, 1);
  const long some = rows * (inputs + outputs) > AT_ONCE ? 8 : rows;
  for (long i = 0; i < rows; i += some)
    some_weights(x + i * inputs, dy + i * outputs, dw, rows - i < some ? rows - i : some, inputs, outputs, i > 0);
}

// dx = dy w^T

INLINE void input_tile(const vf *w, const vf *dy, vf *dx, long inputs, long outputs, const int rows, const int columns) {
  vp sum[8][4] = {}, weight[4];
  for (long j = 0; j < outputs; j++) {
    for (int k = 0; k < PAIRS(columns); k++) weight[k] = pair_of(w + k * PAIR * outputs + j, outputs, HALF(k, columns));
    for (int i = 0; i < rows; i++) {
      const vp slope = both(dy[i * outputs + j]);
      for (int k = 0; k < PAIRS(columns); k++) sum[i][k] = mad_pair(slope, weight[k], sum[i][k]);
    }
  }
  for (int i = 0; i < rows; i++)
    for (int k = 0; k < PAIRS(columns); k++) put_pair(sum[i][k], dx + i * inputs + k * PAIR, 1, HALF(k, columns));
}

INLINE void input_rows(const vf *w, const vf *dy, vf *dx, long inputs, long outputs, const int rows) {
#define TILE(columns) input_tile(w + k * outputs, dy, dx + k, inputs, outputs, rows, columns)
  long k = 0;
  for (; k + 2 * PAIR <= inputs; k += 2 * PAIR) TILE(2 * PAIR);
  LEFT_OVER(inputs - k, TILE)
#undef TILE
}

static void linear_inputs(const vf *w, const vf *dy, vf *dx, long rows, long inputs, long outputs) {
  long i = 0;
  for (; WIDE && i + 8 <= rows; i += 8) input_rows(w, dy + i * outputs, dx + i * inputs, inputs, outputs, 8);
  for (; i + 4 <= rows; i += 4) input_rows(w, dy + i * outputs, dx + i * inputs, inputs, outputs, 4);
  for (; i < rows; i++) input_rows(w, dy + i * outputs, dx + i * inputs, inputs, outputs, 1);
}

// Normalization over the batch; a row is [channels][places]

typedef struct {
  long channels, places;
  const vf *weight, *bias; // of each channel
  vf *mean, *variance;     // running statistics
  vf momentum, eps;
} Norm;

// `normal` [rows][channels][places] and `rate` [channels] are for the way back
static void norm_forward(const Norm *n, const vf *x, vf *y, vf *normal, vf *rate, long rows) {
  const long width = n->channels * n->places, count = rows * n->places;
  for (long c = 0; c < n->channels; c++) {
    vf sum = {}, squares = {};
    for (long i = 0; i < rows; i++)
      for (long p = c * n->places; p < (c + 1) * n->places; p++) sum += x[i * width + p];
    const vf mean = sum / (float)count;
    for (long i = 0; i < rows; i++)
      for (long p = c * n->places; p < (c + 1) * n->places; p++) {
        const vf apart = x[i * width + p] - mean;
        squares = mad(apart, apart, squares);
      }
    const vf variance = squares / (float)count;
    if (count > 1) {
      n->mean[c] += n->momentum * (mean - n->mean[c]);
      n->variance[c] += n->momentum * (variance * ((float)count / (float)(count - 1)) - n->variance[c]);
    }
    rate[c] = 1.0f / root(variance + n->eps);
    for (long i = 0; i < rows; i++)
      for (long p = c * n->places; p < (c + 1) * n->places; p++) {
        const vf value = (x[i * width + p] - mean) * rate[c];
        normal[i * width + p] = value;
        y[i * width + p] = mad(value, n->weight[c], n->bias[c]);
      }
  }
}

static void norm_evaluate(const Norm *n, const vf *x, vf *y, long rows) {
  const long width = n->channels * n->places;
  for (long c = 0; c < n->channels; c++) {
    const vf scale = n->weight[c] / root(n->variance[c] + n->eps);
    for (long i = 0; i < rows; i++)
      for (long p = c * n->places; p < (c + 1) * n->places; p++)
        y[i * width + p] = mad(x[i * width + p] - n->mean[c], scale, n->bias[c]);
  }
}

static void norm_backward(const Norm *n, const vf *dy, const vf *normal, const vf *rate, vf *dx, vf *dweight, vf *dbias, long rows) {
  const long width = n->channels * n->places, count = rows * n->places;
  for (long c = 0; c < n->channels; c++) {
    vf sum = {}, along = {};
    for (long i = 0; i < rows; i++)
      for (long p = c * n->places; p < (c + 1) * n->places; p++) {
        sum += dy[i * width + p];
        along = mad(dy[i * width + p], normal[i * width + p], along);
      }
    dweight[c] = along;
    dbias[c] = sum;
    if (!dx) continue;
    const vf scale = n->weight[c] * rate[c], mean = sum / (float)count, tilt = along / (float)count;
    for (long i = 0; i < rows; i++)
      for (long p = c * n->places; p < (c + 1) * n->places; p++)
        dx[i * width + p] = scale * (dy[i * width + p] - mad(normal[i * width + p], tilt, mean));
  }
}

// Dropout: `scale` is what each value is multiplied with, 0 or 1 / (1 - p). Sixteen bits decide, four values to a word; a value
// stays where they are below `limit`, as signed numbers.

static void dropout_scale(vw keys, vi limit, vf kept, vf *scale, long count) {
  for (long first = 0; first < count; first += 4) {
    const vw word = bits_at(keys, first / 4);
    for (int k = 0; k < 4 && first + k < count; k++) scale[first + k] = (vf)((vi)kept & (sixteen_of(word, k) < limit));
  }
}

static void multiply(const vf *x, const vf *scale, vf *y, long count) {
  for (long i = 0; i < count; i++) y[i] = x[i] * scale[i];
}

static void plus(const vf *x, const vf *given, vf *y, long count) {
  for (long i = 0; i < count; i++) y[i] = x[i] + given[i];
}

#endif
