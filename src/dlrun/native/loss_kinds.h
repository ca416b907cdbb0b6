// The losses that there are, and what one sees. See losses.h.
#ifndef DLRUN_LOSS_KINDS_H
#define DLRUN_LOSS_KINDS_H

#include "activations.h"

// Losses of which every output is judged alone
#define ENTRYWISE(X)                                                                                                              \
  X(mse) X(mae) X(log_cosh) X(bce) X(hinge) X(hinge_squared)                                                                      \
  X(huber)                    /* delta */                                                                                         \
  X(quantile)                 /* tau */                                                                                           \
  X(quantiles)                /* tau of each output; the target is [rows] */                                                      \
  X(bce_with_logits)                                                                                                              \
  X(weighted_bce_with_logits) /* the weight of positives of each output */                                                        \
  X(focal)                    /* gamma; the weight of positives of each output; that of negatives */

// Cross entropies of classes that exclude each other
#define CLASSWISE(X)                                                                                                              \
  X(cross_entropy) X(soft_cross_entropy) X(nll) X(soft_nll)                                                                       \
  X(weighted_cross_entropy) X(soft_weighted_cross_entropy) /* by how much targets were smoothed; the weight of each class */      \
  X(weighted_nll) X(soft_weighted_nll)                     /* the same */

// Other losses of classes
#define ROWWISE(X)                                                                                                                \
  X(class_hinge) X(class_hinge_squared) X(sparsemax_loss) X(soft_sparsemax_loss)                                                  \
  X(class_focal) X(soft_class_focal) /* gamma; the weight of each class */

// Losses of masks; in the `whole` ones the background counts as a class
#define MASKS(X)                                                                                                                  \
  X(dice) X(soft_dice) X(whole_dice) X(soft_whole_dice) /* smooth */                                                              \
  X(dice_cross_entropy) X(soft_dice_cross_entropy)      /* smooth; the fraction of dice */                                        \
  X(whole_dice_cross_entropy) X(soft_whole_dice_cross_entropy) /* the same */

// Losses of embeddings
#define EMBEDDINGS(X)                                                                                                             \
  X(cosine_embedding) /* margin */                                                                                                \
  X(triplet_margin)   /* margin; p */

#define LOSSES(X) ENTRYWISE(X) CLASSWISE(X) ROWWISE(X) MASKS(X) EMBEDDINGS(X)
#define NUMBERED(name) LOSS_##name,
#define NAMED(name) #name " "
enum { LOSSES(NUMBERED) };
static const char *const LOSS_NAMES = LOSSES(NAMED);
#undef NUMBERED
#undef NAMED

// What a loss sees
typedef struct {
  const vf *p, *output;
  const void *target;
  long rows, width, pixels;
} Judged;

// Whether targets are shares of classes
INLINE int is_soft(int kind) {
  switch (kind) {
  case LOSS_soft_cross_entropy:
  case LOSS_soft_nll:
  case LOSS_soft_weighted_cross_entropy:
  case LOSS_soft_weighted_nll:
  case LOSS_soft_sparsemax_loss:
  case LOSS_soft_class_focal:
  case LOSS_soft_dice:
  case LOSS_soft_whole_dice:
  case LOSS_soft_dice_cross_entropy:
  case LOSS_soft_whole_dice_cross_entropy: return 1;
  default: return 0;
  }
}

// The same loss of targets that are numbers of classes: it stands before the one of shares in LOSSES, and has the same numbers
INLINE int unsoftened(int kind) { return kind - is_soft(kind); }

// Whether pixel i of row r is of class k
INLINE vi is_class(Judged j, long r, long i, long k) { return ((const vi *)j.target)[r * j.pixels + i] == (int32_t)k; }

// The share of class k in the target of pixel i of row r
INLINE vf share_of(int soft, Judged j, long r, long i, long k) {
  if (soft) return ((const vf *)j.target)[(r * j.width + k) * j.pixels + i];
  return (vf)((vi)splat(1.0f) & is_class(j, r, i, k));
}

// What is taken from a logit to make it the logarithm of a probability, in two parts
typedef struct {
  vf most, rest;
} Normalizer;

INLINE Normalizer normalizer(const vf *z, long width, long stride) {
  vf most = row_maximum(z, width, stride), sum = splat(0.0f);
  for (long k = 0; k < width; k++) sum += exp_within(larger(splat(-88.0f), z[k * stride] - most));
  return (Normalizer){most, log_v(sum)};
}

#endif
