// Layers of tables: linear maps, normalization over the batch, dropout; sums of a residual connection.
//
// A batch is [rows][width] vectors. Sums run over inputs, rows and outputs in ascending order, whatever the tiling, so that a
// batch may be cut anywhere. A tile holds eight sums, which with what they are made of fill the sixteen registers of x86-64-v3.
#ifndef DLRUN_LAYERS_H
#define DLRUN_LAYERS_H

#include "streams.h"
#include "vector.h"

// y = x w + b with w [inputs][outputs]

INLINE void linear_tile(const vf *w, const vf *b, const vf *x, vf *y, long inputs, long outputs, const int rows, const int columns) {
  vf sum[4][4];
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < columns; j++) sum[i][j] = b[j];
  for (long k = 0; k < inputs; k++)
    for (int j = 0; j < columns; j++) {
      const vf weight = w[k * outputs + j];
      for (int i = 0; i < rows; i++) sum[i][j] = mad(x[i * inputs + k], weight, sum[i][j]);
    }
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < columns; j++) y[i * outputs + j] = sum[i][j];
}

static void linear_forward(const vf *w, const vf *b, const vf *x, vf *y, long rows, long inputs, long outputs) {
  long i = 0;
  for (; i + 4 <= rows; i += 4) {
    const vf *xi = x + i * inputs;
    vf *yi = y + i * outputs;
    long j = 0;
    for (; j + 2 <= outputs; j += 2) linear_tile(w + j, b + j, xi, yi + j, inputs, outputs, 4, 2);
    if (j < outputs) linear_tile(w + j, b + j, xi, yi + j, inputs, outputs, 4, 1);
  }
  for (; i < rows; i++) {
    const vf *xi = x + i * inputs;
    vf *yi = y + i * outputs;
    long j = 0;
    for (; j + 4 <= outputs; j += 4) linear_tile(w + j, b + j, xi, yi + j, inputs, outputs, 1, 4);
    for (; j < outputs; j++) linear_tile(w + j, b + j, xi, yi + j, inputs, outputs, 1, 1);
  }
}

// dw [inputs][outputs] = sum over rows of x dy, and db = sum over rows of dy. Sums that are `begun` go on from what is there.

INLINE void weight_tile(const vf *x, const vf *dy, vf *dw, long rows, long inputs, long outputs, int begun, const int above,
                        const int columns) {
  vf sum[4][4] = {};
  for (int k = 0; begun && k < above; k++)
    for (int j = 0; j < columns; j++) sum[k][j] = dw[k * outputs + j];
  for (long i = 0; i < rows; i++)
    for (int k = 0; k < above; k++) {
      const vf value = x[i * inputs + k];
      for (int j = 0; j < columns; j++) sum[k][j] = mad(value, dy[i * outputs + j], sum[k][j]);
    }
  for (int k = 0; k < above; k++)
    for (int j = 0; j < columns; j++) dw[k * outputs + j] = sum[k][j];
}

INLINE void bias_tile(const vf *dy, vf *db, long rows, long outputs, const int columns) {
  vf sum[4] = {};
  for (long i = 0; i < rows; i++)
    for (int j = 0; j < columns; j++) sum[j] += dy[i * outputs + j];
  for (int j = 0; j < columns; j++) db[j] = sum[j];
}

static void some_weights(const vf *x, const vf *dy, vf *dw, long rows, long inputs, long outputs, int begun) {
  long k = 0;
  for (; k + 2 <= inputs; k += 2)
    for (long j = 0; j + 4 <= outputs; j += 4)
      weight_tile(x + k, dy + j, dw + k * outputs + j, rows, inputs, outputs, begun, 2, 4);
  if (k < inputs)
    for (long j = 0; j + 4 <= outputs; j += 4)
      weight_tile(x + k, dy + j, dw + k * outputs + j, rows, inputs, outputs, begun, 1, 4);
  for (long j = outputs / 4 * 4; j < outputs; j++) {
    for (k = 0; k + 4 <= inputs; k += 4)
      weight_tile(x + k, dy + j, dw + k * outputs + j, rows, inputs, outputs, begun, 4, 1);
    for (; k < inputs; k++) weight_tile(x + k, dy + j, dw + k * outputs + j, rows, inputs, outputs, begun, 1, 1);
  }
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

INLINE void input_tile(const vf *w, const vf *dy, vf *dx, long inputs, long outputs, const int rows, const int above) {
  vf sum[4][2] = {};
  for (long j = 0; j < outputs; j++)
    for (int k = 0; k < above; k++) {
      const vf weight = w[k * outputs + j];
      for (int i = 0; i < rows; i++) sum[i][k] = mad(dy[i * outputs + j], weight, sum[i][k]);
    }
  for (int i = 0; i < rows; i++)
    for (int k = 0; k < above; k++) dx[i * inputs + k] = sum[i][k];
}

static void linear_inputs(const vf *w, const vf *dy, vf *dx, long rows, long inputs, long outputs) {
  long i = 0;
  for (; i + 4 <= rows; i += 4) {
    const vf *from = dy + i * outputs;
    vf *to = dx + i * inputs;
    long k = 0;
    for (; k + 2 <= inputs; k += 2) input_tile(w + k * outputs, from, to + k, inputs, outputs, 4, 2);
    if (k < inputs) input_tile(w + k * outputs, from, to + k, inputs, outputs, 4, 1);
  }
  for (; i < rows; i++) {
    const vf *from = dy + i * outputs;
    vf *to = dx + i * inputs;
    long k = 0;
    for (; k + 2 <= inputs; k += 2) input_tile(w + k * outputs, from, to + k, inputs, outputs, 1, 2);
    if (k < inputs) input_tile(w + k * outputs, from, to + k, inputs, outputs, 1, 1);
  }
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
