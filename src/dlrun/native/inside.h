// What goes on inside a model in a training pass: what engine/measuring/diagnostics.py lists of activations and of gradients.
#ifndef DLRUN_INSIDE_H
#define DLRUN_INSIDE_H

#include "model.h"

#define FLAT 0.01f // a value whose derivative is below that in size is saturated

// The fraction of the channels [rows][channels][places] that have one value everywhere
static vf dead_units(const vf *y, long rows, long channels, long places) {
  vi dead = {};
  for (long c = 0; c < channels; c++) {
    vi same = ~(vi){};
    for (long i = 0; i < rows; i++)
      for (long k = 0; k < places; k++) same &= y[(i * channels + c) * places + k] == y[c * places];
    dead -= same;
  }
  return numbers(dead) / (float)channels;
}

static vf mean_of(const vf *y, long rows, long width) {
  vd sum = {};
  for (long i = 0; i < rows; i++) {
    vf of_row = {};
    for (long k = 0; k < width; k++) of_row += y[i * width + k];
    sum += widen(of_row);
  }
  return narrow(sum / (double)(rows * width));
}

// The fraction of `count` values of an elementwise activation whose derivative is below FLAT; `one` and `slope` are space for them
static vf saturation(int kind, const vf *own, const vf *x, const vf *y, vf *one, vf *slope, long count) {
  vi flat = {};
  for (long i = 0; i < count; i++) one[i] = splat(1.0f);
  activation_backward(kind, own, one, x, y, slope, count, 1);
  for (long i = 0; i < count; i++) flat -= magnitude(slope[i]) < FLAT;
  return numbers(flat) / (float)count;
}

// Of each activation of a pass that lies in the space: the mean of its outputs, the fraction of dead units, and the saturation,
// NaN where a value depends on its neighbours. out [activations][3]; the gradients in the space are overwritten.
static void activations_inside(const Plan *p, long q, const vf *theta, Space *s, long rows, vf *out) {
  const int kind = (int)p->blocks[q].activation;
  for (long i = 0; i < p->depth; i++) {
    const Layer *layer = &p->layers[i];
    if (layer->kind != LAYER_activation) continue;
    const vf *x = s->input[i], *y = s->input[i + 1], *own = hyperparameters(p, q, layer, theta);
    const long width = layer->inputs, channels = layer->channels;
    out[0] = mean_of(y, rows, width);
    out[1] = dead_units(y, rows, channels, width / channels);
    out[2] = splat(__builtin_nanf(""));
    if (is_elementwise(kind)) out[2] = saturation(kind, own, x, y, s->grad[0], s->grad[1], rows * width);
    out += 3;
  }
}

// The norms of the gradients of weights, each a part of the gradient of theta: out [weights]
static void weight_norms(const Plan *p, const vf *grad, vf *out) {
  for (long i = 0; i < p->weights_count; i++) {
    const Weight *w = &p->weights[i];
    vd sum = {};
    for (long k = w->start; k < w->start + w->units * w->inputs; k++) {
      const vd each = widen(grad[k]);
      sum += each * each;
    }
    out[i] = narrow(root_d(sum));
  }
}

#endif
