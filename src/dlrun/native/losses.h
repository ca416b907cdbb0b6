// Losses: what dlrun/components/losses has, of outputs [rows][width], or [rows][width][pixels] with the classes in the middle.
//
// loss_gradient gives the gradient of the mean over a batch, as the loss of a run is. loss_values gives a value and a weight for
// each row, however many rows there are at a time: the loss of a run is the sum of the values over the sum of the weights, that
// of a row its value over its weight.
//
// Targets are numbers or shares of classes [rows][width] (vf), or class numbers [rows][pixels] (vi), which the kind says: `soft`
// stands for shares, `weighted` for weights of classes or of positives. The numbers p of a kind stand beside it in
// loss_kinds.h.
#ifndef DLRUN_LOSSES_H
#define DLRUN_LOSSES_H

#include "loss_classes.h"
#include "loss_embeddings.h"
#include "loss_entries.h"
#include "loss_masks.h"
#include "loss_rows.h"

// The families lie in the order of LOSSES.
INLINE void gradient_of(int kind, Judged j, vf *grad) {
  if (kind < LOSS_cross_entropy)
    entries_gradient(kind, j, grad);
  else if (kind < LOSS_class_hinge)
    classes_gradient(kind, j, grad);
  else if (kind < LOSS_dice)
    rows_gradient(kind, j, grad);
  else if (kind < LOSS_cosine_embedding)
    masks_gradient(kind, j, grad);
  else
    embeddings_gradient(kind, j, grad);
}

INLINE void values_of(int kind, Judged j, vf *value, vf *weight) {
  if (kind < LOSS_cross_entropy)
    entries_values(kind, j, value, weight);
  else if (kind < LOSS_class_hinge)
    classes_values(kind, j, value, weight);
  else if (kind < LOSS_dice)
    rows_values(kind, j, value, weight);
  else if (kind < LOSS_cosine_embedding)
    masks_values(kind, j, value, weight);
  else
    embeddings_values(kind, j, value, weight);
}

#define GRADIENT(name)                                                                                                            \
  case LOSS_##name: gradient_of(LOSS_##name, j, grad); return;
#define VALUES(name)                                                                                                              \
  case LOSS_##name: values_of(LOSS_##name, j, value, weight); return;

// grad, like the output: the gradient of the loss of a batch. pixels is 1 where there are none.
static void loss_gradient(int kind, const vf *p, const vf *output, const void *target, vf *grad, long rows, long width,
                          long pixels) {
  Judged j = {p, output, target, rows, width, pixels};
  switch (kind) { LOSSES(GRADIENT) }
}

// value, weight [rows]: see above
static void loss_values(int kind, const vf *p, const vf *output, const void *target, vf *value, vf *weight, long rows, long width,
                        long pixels) {
  Judged j = {p, output, target, rows, width, pixels};
  switch (kind) { LOSSES(VALUES) }
}
#undef GRADIENT
#undef VALUES

// For the tests and for Python

const char *dlrun_losses(void) { return LOSS_NAMES; }

// Whether targets are numbers of classes, whether there are as many as outputs, whether they are not read: bits 1, 2 and 4
int dlrun_loss_reads(int kind) {
  if (kind == LOSS_triplet_margin) return 4;
  const int classes = kind >= LOSS_cross_entropy && kind < LOSS_cosine_embedding && !is_soft(kind);
  const int entries = kind < LOSS_cross_entropy && kind != LOSS_quantiles;
  return classes + 2 * entries;
}

void dlrun_loss_gradient(int kind, const vf *p, const vf *output, const void *target, vf *grad, long rows, long width,
                         long pixels) {
  loss_gradient(kind, p, output, target, grad, rows, width, pixels);
}

void dlrun_loss_values(int kind, const vf *p, const vf *output, const void *target, vf *value, vf *weight, long rows, long width,
                       long pixels) {
  loss_values(kind, p, output, target, value, weight, rows, width, pixels);
}

#endif
