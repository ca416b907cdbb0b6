// Activations, forward and backward: what dlrun/components/activations.py has, of [rows][width] vectors.
//
// The kind is that of a block, the numbers p are those of its runs. grad and dx may be the same memory, x and y are what forward
// read and wrote. A NaN stays in its lane, and in its row for softmax.
#ifndef DLRUN_ACTIVATIONS_H
#define DLRUN_ACTIVATIONS_H

#include "functions.h"
#include "pairs.h"

#define ELEMENTWISE(X) \
  X(identity) X(sigmoid) X(tanh) X(relu) X(leaky_relu) X(elu) X(selu) X(gelu) X(gelu_tanh) X(silu) X(swish) X(softplus) X(mish) \
  X(hardswish)
#define ACTIVATIONS(X) ELEMENTWISE(X) X(softmax) X(log_softmax)
#define NUMBERED(name) ACTIVATION_##name,
#define NAMED(name) #name " "
enum { ACTIVATIONS(NUMBERED) };
static const char *const ACTIVATION_NAMES = ACTIVATIONS(NAMED);
#undef NUMBERED
#undef NAMED

INLINE int is_elementwise(int kind) { return kind < ACTIVATION_softmax; }

#define SELU_SCALE 1.0507009873554804934193349852946f // of Klambauer et al. 2017
#define SELU_ALPHA 1.6732632423543772848170429916717f

// x for x > 0, else alpha (e^x - 1)
INLINE vf elu(vf x, vf alpha) { return choose(x > 0.0f, x, alpha * expm1_within(clamp(x, -80.0f, 0.0f))); }

// s (1 + x (1 - s)), s = sigmoid(x)
INLINE vf silu_slope(vf x) {
  vf s = sigmoid(x);
  return s * mad(x, 1.0f - s, splat(1.0f));
}

// s + beta y (1 - s), s = sigmoid(beta x)
INLINE vf swish_slope(vf x, vf y, vf beta) {
  vf s = sigmoid(x * beta);
  return mad(y * (1.0f - s), beta, s);
}

// The argument of tanh in gelu's tanh form, twice, since 1 + tanh(u) = 2 sigmoid(2 u); and its derivative
INLINE vf gelu_inner(vf x) { return x * 1.5957691216057308f * mad(x * x, splat(0.044715f), splat(1.0f)); }
INLINE vf gelu_inner_slope(vf x) { return mad(x * x, splat(3.0f * 0.044715f * 1.5957691216057308f), splat(1.5957691216057308f)); }

// Phi(x) + x phi(x)
INLINE vf gelu_slope(vf x) {
  Normal n = normal(x);
  return mad(clamp(x, -14.0f, 14.0f) * 0.3989422804014327f, n.bell, n.cdf);
}

INLINE vf gelu_tanh_slope(vf x) {
  vf held = clamp(x, -20.0f, 20.0f), s = sigmoid(gelu_inner(held));
  return mad(held * s * (1.0f - s), gelu_inner_slope(held), s);
}

INLINE vf softplus_scaled(vf x, vf beta) {
  vf z = beta * x;
  return choose(z > 20.0f, x, softplus(z) * (1.0f / beta));
}

INLINE vf softplus_slope(vf x, vf beta) {
  vf z = beta * x;
  return choose(z > 20.0f, splat(1.0f), sigmoid(z));
}

// x tanh(softplus(x)) = x n / (n + 2), n = e (e + 2), e = e^x; 1 beyond 20 in the last bit
INLINE vf mish(vf x) {
  vf e = exp_within(clamp(x, -88.0f, 20.0f)), n = e * (e + 2.0f);
  return x * (n / (n + 2.0f));
}

// (n + 4 x e (1 + e) / (n + 2)) / (n + 2)
INLINE vf mish_slope(vf x) {
  vf held = clamp(x, -88.0f, 20.0f), e = exp_within(held), n = e * (e + 2.0f), one = 1.0f / (n + 2.0f);
  return mad(4.0f * held * (e + e * e), one, n) * one;
}

INLINE vf hardswish(vf x) { return x * clamp(x + 3.0f, 0.0f, 6.0f) * (1.0f / 6.0f); }

INLINE vf hardswish_slope(vf x) {
  vf inner = choose(x <= -3.0f, splat(0.0f), mad(x, splat(1.0f / 3.0f), splat(0.5f)));
  return choose(x >= 3.0f, splat(1.0f), inner);
}

// The largest of a row, NaN or not
INLINE vf row_maximum(const vf *x, long width, long stride) {
  vf most = x[0];
  for (long k = 1; k < width; k++) most = larger(most, x[k * stride]);
  return most;
}

// y = e^(x - max x) and its sum over a row, added up from the first to the last; the maximum of the row is returned through `most`
INLINE vf row_exponentials(const vf *x, vf *y, long width, long stride, vf *most) {
  vf sum = splat(0.0f);
  *most = row_maximum(x, width, stride);
  for (long k = 0; k < width; k++) {
    y[k * stride] = exp_within(larger(splat(-88.0f), x[k * stride] - *most));
    sum += y[k * stride];
  }
  return sum;
}

INLINE void softmax_row(const vf *x, vf *y, long width, long stride) {
  vf most, sum = row_exponentials(x, y, width, stride, &most), share = 1.0f / sum;
  for (long k = 0; k < width; k++) y[k * stride] *= share;
}

// z - max - log sum e^(z - max)
INLINE void log_softmax_row(const vf *x, vf *y, long width, long stride) {
  vf most, sum = row_exponentials(x, y, width, stride, &most), rest = log_v(sum);
  for (long k = 0; k < width; k++) y[k * stride] = x[k * stride] - most - rest;
}

// y (grad - sum grad y)
INLINE void softmax_row_backward(const vf *grad, const vf *y, vf *dx, long width, long stride) {
  vf sum = splat(0.0f);
  for (long k = 0; k < width; k++) sum = mad(grad[k * stride], y[k * stride], sum);
  for (long k = 0; k < width; k++) dx[k * stride] = y[k * stride] * (grad[k * stride] - sum);
}

// grad - e^y sum grad
INLINE void log_softmax_row_backward(const vf *grad, const vf *y, vf *dx, long width, long stride) {
  vf sum = splat(0.0f);
  for (long k = 0; k < width; k++) sum += grad[k * stride];
  for (long k = 0; k < width; k++) dx[k * stride] = mad(-exp_v(y[k * stride]), sum, grad[k * stride]);
}

// One value of an elementwise activation with a number such as its slope. Inlined with a kind known to the compiler, the switch
// is gone.
INLINE vf activation_value(int kind, vf number, vf x) {
  switch (kind) {
  case ACTIVATION_sigmoid: return sigmoid(x);
  case ACTIVATION_tanh: return tanh_v(x);
  case ACTIVATION_relu: return larger(splat(0.0f), x);
  case ACTIVATION_leaky_relu: return choose(x > 0.0f, x, x * number);
  case ACTIVATION_elu: return elu(x, number);
  case ACTIVATION_selu: return SELU_SCALE * elu(x, splat(SELU_ALPHA));
  case ACTIVATION_gelu: return x * normal(x).cdf;
  case ACTIVATION_gelu_tanh: return x * sigmoid(gelu_inner(x));
  case ACTIVATION_silu: return x * sigmoid(x);
  case ACTIVATION_swish: return x * sigmoid(x * number);
  case ACTIVATION_softplus: return softplus_scaled(x, number);
  case ACTIVATION_mish: return mish(x);
  case ACTIVATION_hardswish: return hardswish(x);
  default: return x;
  }
}

// The gradient g with respect to y = activation_value(x) becomes that with respect to x
INLINE vf activation_gradient(int kind, vf number, vf g, vf x, vf y) {
  switch (kind) {
  case ACTIVATION_sigmoid: return g * (1.0f - y) * y;
  case ACTIVATION_tanh: return g * mad(-y, y, splat(1.0f));
  case ACTIVATION_relu: return (vf)((vi)g & ~(y <= 0.0f));
  case ACTIVATION_leaky_relu: return choose(x > 0.0f, g, g * number);
  case ACTIVATION_elu: return choose(x > 0.0f, g, g * (y + number));
  case ACTIVATION_selu: return g * choose(x > 0.0f, splat(SELU_SCALE), y + SELU_SCALE * SELU_ALPHA);
  case ACTIVATION_gelu: return g * gelu_slope(x);
  case ACTIVATION_gelu_tanh: return g * gelu_tanh_slope(x);
  case ACTIVATION_silu: return g * silu_slope(x);
  case ACTIVATION_swish: return g * swish_slope(x, y, number);
  case ACTIVATION_softplus: return g * softplus_slope(x, number);
  case ACTIVATION_mish: return g * mish_slope(x);
  case ACTIVATION_hardswish: return g * hardswish_slope(x);
  default: return g;
  }
}

#define FORWARD(name)                                                                                                             \
  case ACTIVATION_##name:                                                                                                         \
    for (long i = first; i < count; i++) y[i] = activation_value(ACTIVATION_##name, number, x[i]);                                \
    return;
#define BACKWARD(name)                                                                                                            \
  case ACTIVATION_##name:                                                                                                         \
    for (long i = first; i < count; i++) dx[i] = activation_gradient(ACTIVATION_##name, number, grad[i], x[i], y[i]);             \
    return;

// The values of an elementwise activation from number `first` on
static void values_forward(int kind, vf number, const vf *x, vf *y, long first, long count) {
  switch (kind) { ELEMENTWISE(FORWARD) }
}

static void values_backward(int kind, vf number, const vf *grad, const vf *x, const vf *y, vf *dx, long first, long count) {
  switch (kind) { ELEMENTWISE(BACKWARD) }
}

#if V == 8 // the rest is of whole layers

// y [rows][width] of x
static void activation_forward(int kind, const vf *p, const vf *x, vf *y, long rows, long width) {
  const vf number = p ? p[0] : splat(0.0f);
  const long count = rows * width;
  if (is_elementwise(kind)) return values_forward(kind, number, x, y, dlrun_pairs_forward(kind, both(number), x, y, count), count);
  for (long r = 0; r < rows; r++)
    (kind == ACTIVATION_softmax ? softmax_row : log_softmax_row)(x + r * width, y + r * width, width, 1);
}

// dx [rows][width]: the gradient with respect to x, of that with respect to y
static void activation_backward(int kind, const vf *p, const vf *grad, const vf *x, const vf *y, vf *dx, long rows, long width) {
  const vf number = p ? p[0] : splat(0.0f);
  const long count = rows * width;
  if (is_elementwise(kind))
    return values_backward(kind, number, grad, x, y, dx, dlrun_pairs_backward(kind, both(number), grad, x, y, dx, count), count);
  for (long r = 0; r < rows; r++)
    (kind == ACTIVATION_softmax ? softmax_row_backward : log_softmax_row_backward)(grad + r * width, y + r * width, dx + r * width,
                                                                                    width, 1);
}

// The derivative of one value by the activation's number
INLINE vf by_number(int kind, vf number, vf x, vf y) {
  switch (kind) {
  case ACTIVATION_leaky_relu: return choose(x > 0.0f, splat(0.0f), x);
  case ACTIVATION_elu: return choose(x > 0.0f, splat(0.0f), expm1_within(clamp(x, -80.0f, 0.0f)));
  case ACTIVATION_swish: return x * y * (1.0f - sigmoid(x * number));
  default: return mad(softplus_slope(x, number), x, -y) / number;
  }
}

// out: the gradient with respect to the activation's number, where it has one: grad times the derivative by it, summed over the
// rows of sums over a row
static void activation_learned(int kind, const vf *p, const vf *grad, const vf *x, const vf *y, vf *out, long rows, long width) {
  vf total = splat(0.0f);
  for (long r = 0; r < rows; r++) {
    vf sum = splat(0.0f);
    for (long i = r * width; i < (r + 1) * width; i++) sum = mad(grad[i], by_number(kind, p[0], x[i], y[i]), sum);
    total += sum;
  }
  *out = total;
}

// For the tests and for Python

const char *dlrun_activations(void) { return ACTIVATION_NAMES; }

void dlrun_activation_forward(int kind, const vf *p, const vf *x, vf *y, long rows, long width) {
  activation_forward(kind, p, x, y, rows, width);
}

void dlrun_activation_backward(int kind, const vf *p, const vf *grad, const vf *x, const vf *y, vf *dx, long rows, long width) {
  activation_backward(kind, p, grad, x, y, dx, rows, width);
}

void dlrun_activation_learned(int kind, const vf *p, const vf *grad, const vf *x, const vf *y, vf *out, long rows, long width) {
  activation_learned(kind, p, grad, x, y, out, rows, width);
}

#endif

#endif
