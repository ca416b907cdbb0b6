// What the kernel is told of a cohort, as engine/lanes/library.py writes it.
#ifndef DLRUN_PLAN_H
#define DLRUN_PLAN_H

#include "changes.h"
#include "deal.h"
#include "penalties.h"
#include "vector.h"

// The names of layers, in the order of their numbers
#define LAYERS(X)                                                                                                                \
  X(linear) X(activation) X(head) X(dropout) X(batch_norm) X(convolution) X(max_pool) X(mean) X(upsample) X(embedding) X(fork) X(add)
enum {
#define AS_LAYER(name) LAYER_##name,
  LAYERS(AS_LAYER)
#undef AS_LAYER
};

// All integers are 64 bits wide, so that no compiler pads a structure.

typedef struct {
  int64_t kind, inputs, outputs; // numbers of a row, before and after
  int64_t theta, buffer;         // its first parameter and its first buffer
  int64_t numbers;               // its first number among those of a block
  int64_t part;                  // of the stream of dropout; of an activation, whether its numbers are learned; of an add, its fork
  int64_t channels, height, width; // of a row: a table's has places of 1 x 1, a signal's a height of 1
  int64_t filters, out_height, out_width;
  int64_t kernel_height, kernel, stride, padding_height, padding; // also windows of pooling; of an activation, the last axis; words
  int64_t padded;                // whether its places are those of sequences of words
} Layer;

// What the runs of a block share: numbers of kinds. Their optimizers are `updates` from number `update` on, each of `lanes` lanes, one
// behind the other: 1, 2, 4 or V. Lanes behind the last are of none.
typedef struct {
  int64_t activation, head, loss, update, updates, lanes;
} Block;

typedef struct {
  int64_t optimizer, flags;
} Update;

typedef struct {
  const Layer *layers;
  const Block *blocks;
  const Update *updates;
  const Weight *weights;
  const Change *changes;  // of a batch, in the order in which they are made
  vf *state;              // [blocks][stride]: theta, buffers, the average of l1, the slots of the optimizer
  const vf *numbers;      // [blocks][..], hyperparameters of activations, losses and layers
  const vd *rates;        // [blocks][..], those of optimizers, and behind them those of penalties
  const uint64_t *orders, *masks, *draws; // [blocks][V], keys of the streams of order, of dropout and of what changes batches
  const float *shares;    // of mixup, see Batch
  const int64_t *splits;  // [blocks][V]
  const float *samples;   // [splits][rows][sample]: inputs and targets, filled up to fours; numbers of classes are int32
  int32_t *drawn;         // [blocks][train][V]: the order of an epoch, as places in a split in fours of numbers
  int64_t depth, blocks_count, weights_count, changes_count, penalties;
  int64_t parameters, buffers, average, slots, stride, numbers_each, rates_each;
  int64_t rows, train, batch; // of a split, of these for training, of a step
  int64_t sample;         // numbers of a row in all
  int64_t inputs, outputs, targets, members; // numbers of a member, of a row's output and of its target; members of a row
  int64_t width, pixels;  // of an output as the loss sees it: numbers of a member, or classes of each pixel
  int64_t integral;       // whether targets are numbers of classes
  int64_t activation_numbers, loss_numbers; // where those of a block lie
  int64_t soft;           // whether numbers of classes become shares of them, which the loss is given
} Plan;

#endif
