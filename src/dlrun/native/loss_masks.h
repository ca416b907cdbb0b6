// Losses of masks: the overlap of each class, alone or together with the cross entropy of pixels. See losses.h.
#ifndef DLRUN_LOSS_MASKS_H
#define DLRUN_LOSS_MASKS_H

#include "loss_kinds.h"

INLINE int is_mixed(int kind) {
  return kind == LOSS_dice_cross_entropy || kind == LOSS_soft_dice_cross_entropy || kind == LOSS_whole_dice_cross_entropy ||
         kind == LOSS_soft_whole_dice_cross_entropy;
}

// The first class that counts
INLINE long first_class(int kind) {
  return kind != LOSS_whole_dice && kind != LOSS_soft_whole_dice && kind != LOSS_whole_dice_cross_entropy &&
         kind != LOSS_soft_whole_dice_cross_entropy;
}

// Of row r: overlap = 2 sum(p y) + smooth and area = sum(p) + sum(y) + smooth of each class over the pixels, and sum(-y log p).
// The masks p = softmax(z) are written to `masks` [width][pixels] unless that is NULL.
INLINE vf overlaps(int kind, Judged j, long r, vf *masks, vf *overlap, vf *area) {
  const vf *z = j.output + r * j.width * j.pixels;
  vf cost = splat(0.0f);
  for (long k = 0; k < j.width; k++) overlap[k] = area[k] = j.p[0];
  for (long i = 0; i < j.pixels; i++) {
    Normalizer n = normalizer(z + i, j.width, j.pixels);
    for (long k = 0; k < j.width; k++) {
      vf log_p = z[k * j.pixels + i] - n.most - n.rest, p = exp_v(log_p), y = share_of(is_soft(kind), j, r, i, k);
      if (masks) masks[k * j.pixels + i] = p;
      overlap[k] = mad(2.0f * p, y, overlap[k]);
      area[k] += p + y;
      if (is_mixed(kind)) cost = is_soft(kind) ? mad(-y, log_p, cost) : choose(is_class(j, r, i, k), cost - log_p, cost);
    }
  }
  return cost;
}

// By p: (D - 2 y) / area / (rows times classes that count), D = overlap / area, and 0 for the others; then back through softmax
static void masks_gradient(int kind, Judged j, vf *grad) {
  const long first = first_class(kind);
  vf overlap[j.width], area[j.width], of_dice = is_mixed(kind) ? j.p[1] : splat(1.0f);
  vf classes = splat((float)(j.rows * (j.width - first))), of_pixels = (1.0f - of_dice) / splat((float)(j.rows * j.pixels));
  for (long r = 0; r < j.rows; r++) {
    vf *g = grad + r * j.width * j.pixels;
    overlaps(kind, j, r, g, overlap, area);
    for (long k = 0; k < j.width; k++) {
      overlap[k] /= area[k];
      area[k] = k < first ? splat(0.0f) : of_dice / (area[k] * classes);
    }
    for (long i = 0; i < j.pixels; i++) {
      vf sum = splat(0.0f);
      for (long k = first; k < j.width; k++)
        sum = mad((overlap[k] - 2.0f * share_of(is_soft(kind), j, r, i, k)) * area[k], g[k * j.pixels + i], sum);
      for (long k = 0; k < j.width; k++) {
        vf p = g[k * j.pixels + i], y = share_of(is_soft(kind), j, r, i, k);
        vf by_z = p * ((overlap[k] - 2.0f * y) * area[k] - sum);
        g[k * j.pixels + i] = is_mixed(kind) ? mad(p - y, of_pixels, by_z) : by_z;
      }
    }
  }
}

static void masks_values(int kind, Judged j, vf *value, vf *weight) {
  const long first = first_class(kind);
  vf overlap[j.width], area[j.width], classes = splat((float)(j.width - first)), pixels = splat((float)j.pixels);
  for (long r = 0; r < j.rows; r++) {
    vf cost = overlaps(kind, j, r, NULL, overlap, area) / pixels, sum = splat(0.0f);
    for (long k = first; k < j.width; k++) sum += 1.0f - overlap[k] / area[k];
    value[r] = is_mixed(kind) ? j.p[1] * (sum / classes) + (1.0f - j.p[1]) * cost : sum / classes;
    weight[r] = splat(1.0f);
  }
}

#endif
