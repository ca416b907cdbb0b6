// Losses of embeddings [rows][2 or 3][width]: pairs are judged by their angle, triplets by their distances. See losses.h.
#ifndef DLRUN_LOSS_EMBEDDINGS_H
#define DLRUN_LOSS_EMBEDDINGS_H

#include "loss_kinds.h"

// Of the vectors a and b: their cosine, their squared lengths with what keeps them from 0, and 1 / sqrt of the product of those
typedef struct {
  vf cosine, first, second, scale;
} Angle;

INLINE Angle angle(const vf *a, const vf *b, long width) {
  vf aa = splat(0.0f), bb = aa, ab = aa;
  for (long k = 0; k < width; k++) aa = mad(a[k], a[k], aa), bb = mad(b[k], b[k], bb), ab = mad(a[k], b[k], ab);
  aa += 1e-12f, bb += 1e-12f;
  vf scale = 1.0f / root(aa * bb);
  return (Angle){ab * scale, aa, bb, scale};
}

// -cos for alike pairs, cos for others beyond the margin, whose derivative by a is b / (|a| |b|) - cos a / |a|^2
static void cosine_gradient(Judged j, long r, vf *g) {
  const vf *a = j.output + r * 2 * j.width, *b = a + j.width, *target = j.target;
  Angle n = angle(a, b, j.width);
  vf outside = (vf)((vi)splat(1.0f) & (n.cosine > j.p[0]));
  vf side = choose(target[r] > 0.0f, splat(-1.0f), outside) / splat((float)j.rows);
  vf across = side * n.scale, along_a = side * n.cosine / n.first, along_b = side * n.cosine / n.second;
  for (long k = 0; k < j.width; k++) {
    vf by_a = mad(across, b[k], -along_a * a[k]), by_b = mad(across, a[k], -along_b * b[k]);
    g[k] = by_a, g[j.width + k] = by_b;
  }
}

static vf cosine_value(Judged j, long r) {
  const vf *a = j.output + r * 2 * j.width, *target = j.target;
  vf cosine = angle(a, a + j.width, j.width).cosine;
  return choose(target[r] > 0.0f, 1.0f - cosine, larger(splat(0.0f), cosine - j.p[0]));
}

// sum |a - b + 1e-6|^p
INLINE vf spread(const vf *a, const vf *b, long width, vf p) {
  vf sum = splat(0.0f);
  for (long k = 0; k < width; k++) sum += power(magnitude(a[k] - b[k] + 1e-6f), p);
  return sum;
}

// The derivative of the distance by one of its differences, sign(d) |d|^(p - 1) sum^(1 / p - 1), the last factor as `scale`
INLINE vf pull(vf a, vf b, vf p, vf scale) {
  vf difference = a - b + 1e-6f;
  return sign(difference) * power(magnitude(difference), p - 1.0f) * scale;
}

static void triplet_gradient(Judged j, long r, vf *g) {
  const vf *a = j.output + r * 3 * j.width, *b = a + j.width, *c = b + j.width;
  vf p = j.p[1], near = spread(a, b, j.width, p), far = spread(a, c, j.width, p), one = splat(1.0f);
  vf near_root = power(near, one / p), far_root = power(far, one / p), scale = splat(1.0f / (float)j.rows);
  vi costs = near_root - far_root + j.p[0] > 0.0f;
  vf near_scale = near_root / near * scale, far_scale = far_root / far * scale;
  for (long k = 0; k < j.width; k++) {
    vf by_near = choose(costs, pull(a[k], b[k], p, near_scale), splat(0.0f));
    vf by_far = choose(costs, pull(a[k], c[k], p, far_scale), splat(0.0f));
    g[k] = by_near - by_far, g[j.width + k] = -by_near, g[2 * j.width + k] = by_far;
  }
}

static vf triplet_value(Judged j, long r) {
  const vf *a = j.output + r * 3 * j.width, *b = a + j.width, *c = b + j.width;
  vf p = j.p[1], near = power(spread(a, b, j.width, p), 1.0f / p), far = power(spread(a, c, j.width, p), 1.0f / p);
  return larger(splat(0.0f), near - far + j.p[0]);
}

static void embeddings_gradient(int kind, Judged j, vf *grad) {
  for (long r = 0; r < j.rows; r++) {
    if (kind == LOSS_cosine_embedding)
      cosine_gradient(j, r, grad + r * 2 * j.width);
    else
      triplet_gradient(j, r, grad + r * 3 * j.width);
  }
}

static void embeddings_values(int kind, Judged j, vf *value, vf *weight) {
  for (long r = 0; r < j.rows; r++) {
    value[r] = kind == LOSS_cosine_embedding ? cosine_value(j, r) : triplet_value(j, r);
    weight[r] = splat(1.0f);
  }
}

#endif
