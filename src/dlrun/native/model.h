// A model as a list of layers: forward, backward, and the space that a batch takes on its way.
#ifndef DLRUN_MODEL_H
#define DLRUN_MODEL_H

#include "images.h"
#include "layers.h"
#include "losses.h"
#include "plan.h"

// The space of a batch: each layer's input and what it keeps for the way back, two gradients, the gradient of theta, targets
typedef struct {
  vf **input, **kept; // [depth + 1]
  vf *grad[2], *theta, *sides;
  vf *target, *soft, *spare;
  vf *memory;
} Space;

INLINE long widest(const Plan *p) {
  long most = p->inputs;
  for (long i = 0; i < p->depth; i++) most = p->layers[i].outputs > most ? p->layers[i].outputs : most;
  return most;
}

static Convolution convolution_of(const Layer *layer) {
  return (Convolution){layer->channels,   layer->height,        layer->width,  layer->filters, layer->out_height,    layer->out_width,
                       layer->kernel_height, layer->kernel, layer->stride,  layer->padding_height, layer->padding};
}

static Pool pool_of(const Layer *layer) {
  return (Pool){layer->channels, layer->height, layer->width, layer->kernel_height, layer->kernel};
}

static long kept_by(const Layer *layer, long rows) {
  if (layer->kind == LAYER_convolution) {
    const Convolution c = convolution_of(layer);
    return convolution_keeps(&c, rows);
  }
  if (layer->kind == LAYER_max_pool) return rows * layer->outputs;
  if (layer->kind == LAYER_dropout || layer->kind == LAYER_fork) return rows * layer->inputs;
  if (layer->kind == LAYER_batch_norm) return rows * layer->inputs + layer->channels;
  return 0;
}

// A batch of `rows` rows in a space
static Batch batch_of(const Plan *p, const Space *s, long rows) {
  return (Batch){
      .input = s->input ? s->input[0] : NULL,
      .target = s->target,
      .soft = s->soft,
      .spare = s->spare,
      .shares = p->shares,
      .rows = rows,
      .width = p->inputs * p->members,
      .targets = p->targets,
      .classes = p->integral ? p->width : 1,
      .integral = (int)p->integral,
  };
}

// Room for `rows` rows, each of which is the members of one row of data; NULL where there is no memory
static Space *room(const Plan *p, long rows) {
  const Batch batch = batch_of(p, &(Space){}, rows);
  const long all = rows * p->members, soft = p->soft ? rows * p->width * p->pixels : 0;
  const long spare = p->changes_count ? spare_of(&batch) : 0;
  long total = all * p->inputs + 2 * all * widest(p) + 2 * p->parameters + rows * p->targets + soft + spare;
  for (long i = 0; i < p->depth; i++) total += all * p->layers[i].outputs + kept_by(&p->layers[i], all);
  Space *space = calloc(1, sizeof *space);
  vf **pointers = calloc((size_t)(2 * (p->depth + 1)), sizeof *pointers);
  vf *memory = aligned_alloc(64, ((size_t)total * sizeof(vf) + 63) / 64 * 64);
  if (!space || !pointers || !memory) {
    free(space), free(pointers), free(memory);
    return NULL;
  }
  memset(memory, 0, (size_t)total * sizeof(vf));
  space->memory = memory;
  space->input = pointers;
  space->kept = pointers + p->depth + 1;
  space->input[0] = memory, memory += all * p->inputs;
  for (long i = 0; i < p->depth; i++) {
    space->input[i + 1] = memory, memory += all * p->layers[i].outputs;
    space->kept[i] = memory, memory += kept_by(&p->layers[i], all);
  }
  for (int i = 0; i < 2; i++) space->grad[i] = memory, memory += all * widest(p);
  space->theta = memory, memory += p->parameters;
  space->sides = memory, memory += p->parameters;
  space->target = memory, memory += rows * p->targets;
  space->soft = memory, memory += soft;
  space->spare = memory;
  return space;
}

static void leave(Space *space) {
  if (!space) return;
  free(space->memory);
  free(space->input);
  free(space);
}

static Norm norm_of(const Layer *layer, const vf *theta, vf *buffers, const vf *numbers) {
  return (Norm){
      .channels = layer->channels,
      .places = layer->inputs / layer->channels,
      .weight = theta + layer->theta,
      .bias = theta + layer->theta + layer->channels,
      .mean = buffers + layer->buffer,
      .variance = buffers + layer->buffer + layer->channels,
      .momentum = numbers[layer->numbers],
      .eps = numbers[layer->numbers + 1],
  };
}

INLINE long filter_weights(const Layer *layer) { return layer->filters * layer->channels * layer->kernel_height * layer->kernel; }

static void image_forward(const Layer *layer, const vf *theta, const vi *words, const vf *x, vf *y, vf *kept, long rows) {
  const vf *weight = theta + layer->theta;
  const Convolution convolution = convolution_of(layer);
  const Pool pool = pool_of(layer);
  switch (layer->kind) {
  case LAYER_convolution: return convolution_forward(&convolution, weight, weight + filter_weights(layer), x, words, y, kept, rows);
  case LAYER_max_pool: return pool_forward(&pool, x, y, kept, rows);
  case LAYER_mean:
    if (words) return mean_words_forward(words, x, y, rows, layer->channels, layer->width);
    return mean_forward(x, y, rows * layer->channels, layer->height * layer->width);
  case LAYER_upsample: return repeat_forward(x, y, rows * layer->channels, layer->height, layer->width, layer->stride);
  }
}

// `dx` is NULL where the gradient of the input is not wanted
static void image_backward(const Layer *layer, const vf *theta, const vi *words, const vf *dy, vf *dx, vf *dtheta, vf *kept,
                           long rows) {
  const Convolution convolution = convolution_of(layer);
  const Pool pool = pool_of(layer);
  vf *weight = dtheta + layer->theta;
  switch (layer->kind) {
  case LAYER_convolution:
    convolution_weights(&convolution, kept, dy, weight, weight + filter_weights(layer), rows);
    if (dx) convolution_inputs(&convolution, theta + layer->theta, dy, dx, kept, rows);
    if (dx && words) keep_words(words, dx, rows, layer->channels, layer->width);
    return;
  case LAYER_max_pool: return pool_backward(&pool, dy, kept, dx, rows);
  case LAYER_mean:
    if (words) return mean_words_backward(words, dy, dx, rows, layer->channels, layer->width);
    return mean_backward(dy, dx, rows * layer->channels, layer->height * layer->width);
  case LAYER_upsample: return repeat_backward(dy, dx, rows * layer->channels, layer->height, layer->width, layer->stride);
  }
}

// The words of which a layer is to know where they are, the input of the model; NULL for other layers
INLINE const vi *words_of(const Layer *layer, const Space *s) { return layer->padded ? (const vi *)s->input[0] : NULL; }

INLINE int trained(const Layer *layer) {
  const int learns = layer->kind == LAYER_activation && layer->part;
  return learns || layer->kind == LAYER_embedding || layer->kind == LAYER_linear || layer->kind == LAYER_batch_norm ||
         layer->kind == LAYER_convolution;
}

// The numbers of an activation: those of the runs, or where they are learned, parameters
INLINE const vf *hyperparameters(const Plan *p, long q, const Layer *layer, const vf *theta) {
  return layer->part ? theta + layer->theta : p->numbers + q * p->numbers_each + p->activation_numbers;
}

// While `training`, batches are normalized by their own statistics. `masks` are the keys of dropout for this step, NULL where
// nothing is dropped.
static void forward(const Plan *p, long q, const vf *theta, vf *buffers, Space *s, long rows, int training, const vw *masks) {
  const vf *numbers = p->numbers + q * p->numbers_each;
  for (long i = 0; i < p->depth; i++) {
    const Layer *layer = &p->layers[i];
    const vf *x = s->input[i];
    vf *y = s->input[i + 1];
    switch (layer->kind) {
    case LAYER_linear:
      linear_forward(theta + layer->theta, theta + layer->theta + layer->inputs * layer->outputs, x, y, rows, layer->inputs,
                     layer->outputs);
      break;
    case LAYER_activation:
      activation_forward((int)p->blocks[q].activation, hyperparameters(p, q, layer, theta), x, y, rows * layer->inputs / layer->kernel,
                         layer->kernel);
      break;
    case LAYER_head:
      activation_forward((int)p->blocks[q].head, NULL, x, y, rows, layer->inputs);
      break;
    case LAYER_dropout:
      if (masks) {
        const vf *own = numbers + layer->numbers;
        dropout_scale(derive_each(*masks, (uint64_t)layer->part), (vi)own[0], own[1], s->kept[i], rows * layer->inputs);
        multiply(x, s->kept[i], y, rows * layer->inputs);
      } else {
        memcpy(y, x, (size_t)(rows * layer->inputs) * sizeof *y);
        for (long k = 0; training && k < rows * layer->inputs; k++) s->kept[i][k] = splat(1.0f);
      }
      break;
    case LAYER_batch_norm: {
      const Norm norm = norm_of(layer, theta, buffers, numbers);
      if (training)
        norm_forward(&norm, x, y, s->kept[i] + layer->channels, s->kept[i], rows);
      else
        norm_evaluate(&norm, x, y, rows);
      break;
    }
    case LAYER_embedding:
      embedding_forward(theta + layer->theta, (const vi *)x, y, rows, layer->inputs, layer->filters);
      break;
    case LAYER_fork:
      memcpy(y, x, (size_t)(rows * layer->inputs) * sizeof *y);
      break;
    case LAYER_add:
      plus(x, s->input[layer->part], y, rows * layer->inputs);
      break;
    default:
      image_forward(layer, theta, words_of(layer, s), x, y, s->kept[i], rows);
    }
  }
}

// From the gradient of the output, in s->grad[0], that of every parameter, in s->theta
static void backward(const Plan *p, long q, const vf *theta, vf *buffers, Space *s, long rows) {
  const vf *numbers = p->numbers + q * p->numbers_each;
  long down_to = 0;
  while (!trained(&p->layers[down_to])) down_to++;
  vf *dy = s->grad[0], *dx = s->grad[1];
  for (long i = p->depth - 1; i >= down_to; i--) {
    const Layer *layer = &p->layers[i];
    const vf *x = s->input[i], *y = s->input[i + 1];
    const int first = i == down_to;
    switch (layer->kind) {
    case LAYER_linear: {
      vf *weight = s->theta + layer->theta;
      linear_weights(x, dy, weight, weight + layer->inputs * layer->outputs, rows, layer->inputs, layer->outputs);
      if (!first) linear_inputs(theta + layer->theta, dy, dx, rows, layer->inputs, layer->outputs);
      break;
    }
    case LAYER_activation: {
      const vf *own = hyperparameters(p, q, layer, theta);
      const long width = layer->kernel, count = rows * layer->inputs / width;
      if (layer->part) activation_learned((int)p->blocks[q].activation, own, dy, x, y, s->theta + layer->theta, count, width);
      activation_backward((int)p->blocks[q].activation, own, dy, x, y, dx, count, width);
      break;
    }
    case LAYER_head:
      activation_backward((int)p->blocks[q].head, NULL, dy, x, y, dx, rows, layer->inputs);
      break;
    case LAYER_dropout:
      multiply(dy, s->kept[i], dx, rows * layer->inputs);
      break;
    case LAYER_batch_norm: {
      const Norm norm = norm_of(layer, theta, buffers, numbers);
      vf *weight = s->theta + layer->theta;
      norm_backward(&norm, dy, s->kept[i] + layer->channels, s->kept[i], first ? NULL : dx, weight, weight + layer->channels, rows);
      break;
    }
    case LAYER_embedding:
      embedding_backward(dy, (const vi *)x, s->theta + layer->theta, rows, layer->inputs, layer->filters, layer->kernel);
      break;
    case LAYER_fork: // what an add kept here has gone around the layers between
      plus(dy, s->kept[i], dx, rows * layer->inputs);
      break;
    case LAYER_add:
      memcpy(s->kept[layer->part], dy, (size_t)(rows * layer->inputs) * sizeof *dy);
      memcpy(dx, dy, (size_t)(rows * layer->inputs) * sizeof *dx);
      break;
    default:
      image_backward(layer, theta, words_of(layer, s), dy, first ? NULL : dx, s->theta, s->kept[i], rows);
    }
    vf *swap = dy;
    dy = dx, dx = swap;
  }
}

#endif
