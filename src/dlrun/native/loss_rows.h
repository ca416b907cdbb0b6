// Losses of a row of classes that exclude each other, beside cross entropy. See losses.h.
#ifndef DLRUN_LOSS_ROWS_H
#define DLRUN_LOSS_ROWS_H

#include "loss_kinds.h"

// The number of the row's class, of those that x holds for each class
INLINE vf of_class(Judged j, long r, const vf *x) {
  vf found = splat(0.0f);
  for (long k = 0; k < j.width; k++) found = choose(is_class(j, r, 0, k), x[k], found);
  return found;
}

// By how much class k comes too close to the row's own, whose score is `aim`; 0 for that class itself
INLINE vf class_shortfall(Judged j, long r, long k, vf aim) {
  vf close = larger(splat(0.0f), j.output[r * j.width + k] - aim + 1.0f);
  return choose(is_class(j, r, 0, k), splat(0.0f), close);
}

static void class_hinge_gradient(int squared, Judged j, long r, vf *g) {
  vf scale = splat((squared ? 2.0f : 1.0f) / (float)(j.rows * j.width)), aim = of_class(j, r, j.output + r * j.width);
  vf sum = splat(0.0f);
  for (long k = 0; k < j.width; k++) {
    vf close = class_shortfall(j, r, k, aim);
    g[k] = (squared ? close : sign(close)) * scale;
    sum += g[k];
  }
  for (long k = 0; k < j.width; k++) g[k] = choose(is_class(j, r, 0, k), -sum, g[k]);
}

static vf class_hinge_value(int squared, Judged j, long r) {
  vf aim = of_class(j, r, j.output + r * j.width), sum = splat(0.0f);
  for (long k = 0; k < j.width; k++) {
    vf close = class_shortfall(j, r, k, aim);
    sum += squared ? close * close : close;
  }
  return sum / splat((float)j.width);
}

// With l = log p and q = 1 - p, the cost -q^gamma l of a class has the derivative -s by l, s = q^gamma (1 - gamma p l / q)
INLINE vf focal_slope(vf l, vf gamma) {
  vf q = -expm1_v(l), ratio = l / larger(splat(SMALLEST), q); // -1 in the limit, to which q^gamma carries the product
  return (1.0f - gamma * exp_v(l) * ratio) * power(q, gamma);
}

// (p - y) s, or p sum_k y_k s_k - y s for shares
static void class_focal_gradient(int soft, Judged j, long r, vf *g) {
  const vf *z = j.output + r * j.width, *weight = j.p + 1;
  vf scale = splat(1.0f / (float)j.rows), sum = splat(0.0f), aim = splat(0.0f);
  Normalizer n = normalizer(z, j.width, 1);
  if (!soft) aim = focal_slope(of_class(j, r, z) - n.most - n.rest, j.p[0]) * of_class(j, r, weight) * scale;
  for (long k = 0; k < j.width; k++) {
    vf slope = soft ? focal_slope(z[k] - n.most - n.rest, j.p[0]) * weight[k] * scale : aim;
    g[k] = slope * share_of(soft, j, r, 0, k);
    sum += g[k];
  }
  for (long k = 0; k < j.width; k++) g[k] = mad(exp_v(z[k] - n.most - n.rest), sum, -g[k]);
}

static vf class_focal_value(int soft, Judged j, long r) {
  const vf *z = j.output + r * j.width, *weight = j.p + 1;
  Normalizer n = normalizer(z, j.width, 1);
  if (!soft) {
    vf l = of_class(j, r, z) - n.most - n.rest;
    return of_class(j, r, weight) * -l * power(-expm1_v(l), j.p[0]);
  }
  vf sum = splat(0.0f);
  for (long k = 0; k < j.width; k++) {
    vf l = z[k] - n.most - n.rest;
    sum += share_of(1, j, r, 0, k) * weight[k] * -l * power(-expm1_v(l), j.p[0]);
  }
  return sum;
}

// What sparsemax takes from the scores of a row before it cuts them off at 0: the largest score, and a threshold t of which
// t = (sum of the scores above t, less the largest - 1) / their number. From all scores on, those below t are left out until none
// is (Michelot 1986); a lane that has come to its end stays there, whatever the others do.
static vf sparsemax_threshold(const vf *z, long width, vf most) {
  vf threshold = splat(-INFINITE), count = splat((float)width + 1.0f);
  for (long round = 0; round <= width; round++) {
    vf sum = splat(-1.0f), above = splat(0.0f);
    for (long k = 0; k < width; k++) {
      vf shifted = z[k] - most;
      vi out = shifted <= threshold; // a NaN stays in, and makes the threshold NaN
      sum += choose(out, splat(0.0f), shifted);
      above += choose(out, splat(0.0f), splat(1.0f));
    }
    vi fewer = above < count;
    threshold = choose(fewer, sum / above, threshold);
    count = choose(fewer, above, count);
    if (!any(fewer)) break;
  }
  return threshold;
}

static void sparsemax_gradient(int soft, Judged j, long r, vf *g) {
  const vf *z = j.output + r * j.width;
  vf scale = splat(1.0f / (float)j.rows), most = row_maximum(z, j.width, 1), threshold = sparsemax_threshold(z, j.width, most);
  for (long k = 0; k < j.width; k++)
    g[k] = (larger(splat(0.0f), z[k] - most - threshold) - share_of(soft, j, r, 0, k)) * scale;
}

// (p - y)'z - |p|^2 / 2 + |y|^2 / 2, with z measured from z_y for a class y, where y'z is 0
static vf sparsemax_value(int soft, Judged j, long r) {
  const vf *z = j.output + r * j.width;
  vf most = row_maximum(z, j.width, 1), threshold = sparsemax_threshold(z, j.width, most), sum = splat(0.0f);
  vf squares = splat(0.0f), from = soft ? splat(0.0f) : of_class(j, r, z);
  for (long k = 0; k < j.width; k++) {
    vf p = larger(splat(0.0f), z[k] - most - threshold), share = share_of(soft, j, r, 0, k);
    sum = mad(soft ? p - share : p, z[k] - from, sum);
    squares += share * share - p * p;
  }
  return mad(splat(0.5f), squares, sum);
}

static void rows_gradient(int kind, Judged j, vf *grad) {
  for (long r = 0; r < j.rows; r++) {
    vf *g = grad + r * j.width;
    if (kind == LOSS_class_hinge || kind == LOSS_class_hinge_squared)
      class_hinge_gradient(kind == LOSS_class_hinge_squared, j, r, g);
    else if (kind == LOSS_class_focal || kind == LOSS_soft_class_focal)
      class_focal_gradient(is_soft(kind), j, r, g);
    else
      sparsemax_gradient(is_soft(kind), j, r, g);
  }
}

static void rows_values(int kind, Judged j, vf *value, vf *weight) {
  for (long r = 0; r < j.rows; r++) {
    if (kind == LOSS_class_hinge || kind == LOSS_class_hinge_squared)
      value[r] = class_hinge_value(kind == LOSS_class_hinge_squared, j, r);
    else if (kind == LOSS_class_focal || kind == LOSS_soft_class_focal)
      value[r] = class_focal_value(is_soft(kind), j, r);
    else
      value[r] = sparsemax_value(is_soft(kind), j, r);
    weight[r] = splat(1.0f);
  }
}

#endif
