// Cross entropies of classes that exclude each other, of rows or pixels. See losses.h.
#ifndef DLRUN_LOSS_CLASSES_H
#define DLRUN_LOSS_CLASSES_H

#include "loss_kinds.h"

INLINE int is_weighted(int kind) {
  return kind == LOSS_weighted_cross_entropy || kind == LOSS_soft_weighted_cross_entropy || kind == LOSS_weighted_nll ||
         kind == LOSS_soft_weighted_nll;
}

INLINE int takes_logits(int kind) {
  return kind == LOSS_cross_entropy || kind == LOSS_soft_cross_entropy || kind == LOSS_weighted_cross_entropy ||
         kind == LOSS_soft_weighted_cross_entropy;
}

// The share of class k in the target of pixel i of row r, times the weight of the class
INLINE vf weighted_share(int kind, Judged j, long r, long i, long k) {
  vf share = share_of(is_soft(kind), j, r, i, k);
  return is_weighted(kind) ? share * j.p[1 + k] : share;
}

// How often a pixel counts in a weighted mean, from its shares after smoothing: as often as before smoothing
INLINE vf unsmoothed(int kind, Judged j, vf count, vf mean) {
  if (!is_soft(kind)) return count;
  vf s = j.p[0];
  return choose(s < 1.0f, (count - s * mean) / (1.0f - s), count);
}

INLINE vf mean_weight(Judged j) {
  vf sum = splat(0.0f);
  for (long k = 0; k < j.width; k++) sum += j.p[1 + k];
  return sum / splat((float)j.width);
}

INLINE vf shares(int kind, Judged j, long r, long i) {
  vf sum = splat(0.0f);
  for (long k = 0; k < j.width; k++) sum += weighted_share(kind, j, r, i, k);
  return sum;
}

// What the gradients of a batch are divided by; 1 where nothing counts, since all are 0 then
INLINE vf divisor(int kind, Judged j) {
  vf pixels = splat((float)(j.rows * j.pixels)), count = splat(0.0f);
  if (!is_weighted(kind)) return pixels;
  for (long r = 0; r < j.rows; r++)
    for (long i = 0; i < j.pixels; i++) count += shares(kind, j, r, i);
  count = unsmoothed(kind, j, count, mean_weight(j) * pixels);
  return choose(count == 0.0f, splat(1.0f), count);
}

INLINE void classes_gradient(int kind, Judged j, vf *grad) {
  vf scale = 1.0f / divisor(kind, j);
  for (long r = 0; r < j.rows; r++)
    for (long i = 0; i < j.pixels; i++) {
      long at = r * j.width * j.pixels + i;
      vf *g = grad + at, whole = scale, most;
      if (is_weighted(kind)) whole *= shares(kind, j, r, i);
      if (takes_logits(kind)) whole /= row_exponentials(j.output + at, g, j.width, j.pixels, &most);
      for (long k = 0; k < j.width; k++) {
        vf aim = weighted_share(kind, j, r, i, k) * scale;
        g[k * j.pixels] = takes_logits(kind) ? mad(g[k * j.pixels], whole, -aim) : -aim;
      }
    }
}

// The value of pixel i of row r, times how often it counts
INLINE vf class_value(int kind, Judged j, long r, long i) {
  const vf *z = j.output + r * j.width * j.pixels + i;
  Normalizer n = takes_logits(kind) ? normalizer(z, j.width, j.pixels) : (Normalizer){splat(0.0f), splat(0.0f)};
  vf sum = splat(0.0f);
  for (long k = 0; k < j.width; k++) {
    vf share = weighted_share(kind, j, r, i, k), log_p = z[k * j.pixels] - n.most - n.rest;
    sum = is_soft(kind) ? mad(-share, log_p, sum)
                        : choose(is_class(j, r, i, k), -share * log_p, sum);
  }
  return sum;
}

INLINE void classes_values(int kind, Judged j, vf *value, vf *weight) {
  vf mean = is_weighted(kind) ? mean_weight(j) : splat(1.0f), pixels = splat((float)j.pixels);
  for (long r = 0; r < j.rows; r++) {
    vf sum = splat(0.0f), count = splat(0.0f);
    for (long i = 0; i < j.pixels; i++) {
      sum += class_value(kind, j, r, i);
      if (is_weighted(kind)) count += unsmoothed(kind, j, shares(kind, j, r, i), mean);
    }
    value[r] = sum / pixels;
    weight[r] = is_weighted(kind) ? count / pixels : splat(1.0f);
  }
}

#endif
