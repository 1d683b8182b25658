// SlimCLR-MoCov2's training step in TensorFlow.js, for comparison with the page. It equals
// `xtask/src/pytorch/slimmable.py` for small images, with images as [n, h, w, channels] and weights as
// [h, w, inputs, outputs].

const KEY_MOMENTUM = 0.99;
const TEMPERATURE = 0.2; // of InfoNCE
const DISTILL_WEIGHT = 0.5;
const DISTILL_TEMPERATURE = 5; // of teacher and student
const [LEARNING_RATE, MOMENTUM, WEIGHT_DECAY] = [0.06, 0.9, 5e-4];
const [NORM_MOMENTUM, NORM_EPSILON] = [0.1, 1e-5];

/** A convolution, of which each width uses the leading slice, and a batch norm for each width. */
class ConvNorm {
  constructor(inputs, outputs, kernel, stride, widths) {
    Object.assign(this, { outputs, kernel, stride });
    const deviation = Math.sqrt(2 / (kernel * kernel * outputs));
    this.weight = tf.variable(tf.randomNormal([kernel, kernel, inputs, outputs], 0, deviation));
    this.norms = new Map();
    for (const width of widths) {
      const channels = [Math.floor(outputs * width)];
      const [gamma, variance] = [tf.variable(tf.ones(channels)), tf.variable(tf.ones(channels), false)];
      const [beta, mean] = [tf.variable(tf.zeros(channels)), tf.variable(tf.zeros(channels), false)];
      this.norms.set(width, { gamma, beta, mean, variance });
    }
  }

  parameters() {
    return [this.weight, ...[...this.norms.values()].flatMap(({ gamma, beta }) => [gamma, beta])];
  }

  apply(x, width) {
    const slice = [this.kernel, this.kernel, x.shape[3], Math.floor(this.outputs * width)];
    const weight = tf.slice(this.weight, [0, 0, 0, 0], slice);
    const product = tf.conv2d(x, weight, this.stride, (this.kernel - 1) / 2);
    const { gamma, beta, ...running } = this.norms.get(width);
    const { mean, variance } = tf.moments(product, [0, 1, 2]);
    for (const [name, seen] of Object.entries({ mean, variance })) {
      running[name].assign(tf.add(tf.mul(running[name], 1 - NORM_MOMENTUM), tf.mul(seen, NORM_MOMENTUM)));
    }
    return tf.batchNorm(product, mean, variance, beta, gamma, NORM_EPSILON);
  }
}

/** A linear layer, of which each width uses the leading slice; with `slim` false, all outputs. */
class Linear {
  constructor(inputs, outputs, slim) {
    Object.assign(this, { outputs, slim });
    this.weight = tf.variable(tf.randomNormal([inputs, outputs], 0, 0.01));
    this.bias = tf.variable(tf.zeros([outputs]));
  }

  parameters() {
    return [this.weight, this.bias];
  }

  apply(x, width) {
    const outputs = this.slim ? Math.floor(this.outputs * width) : this.outputs;
    const product = tf.matMul(x, tf.slice(this.weight, [0, 0], [x.shape[1], outputs]));
    return tf.add(product, tf.slice(this.bias, [0], [outputs]));
  }
}

/** The CIFAR ResNet's block, with another ReLU before the sum, as in the authors' code. */
class Block {
  constructor(inputs, outputs, stride, widths) {
    this.first = new ConvNorm(inputs, outputs, 3, stride, widths);
    this.second = new ConvNorm(outputs, outputs, 3, 1, widths);
    const changes = stride !== 1 || inputs !== outputs;
    this.layers = [this.first, this.second];
    if (changes) this.layers.push((this.shortcut = new ConvNorm(inputs, outputs, 1, stride, widths)));
  }

  parameters() {
    return this.layers.flatMap((layer) => layer.parameters());
  }

  apply(x, width) {
    const inner = tf.relu(this.second.apply(tf.relu(this.first.apply(x, width)), width));
    return tf.relu(tf.add(inner, this.shortcut ? this.shortcut.apply(x, width) : x));
  }
}

/** Backbone and head: [n, h, w, 3] to unit vectors [n, dim]. */
class Encoder {
  constructor({ depth, multiplier, widths, dim }) {
    const channels = (stage) => 2 ** stage * 16 * multiplier;
    this.stem = new ConvNorm(3, channels(0), 3, 1, widths);
    this.blocks = [];
    let inputs = channels(0);
    for (let stage = 0; stage < 3; stage += 1) {
      for (let index = 0; index < (depth - 2) / 6; index += 1) {
        this.blocks.push(new Block(inputs, channels(stage), stage > 0 && index === 0 ? 2 : 1, widths));
        inputs = channels(stage);
      }
    }
    this.hidden = new Linear(inputs, inputs, true);
    this.output = new Linear(inputs, dim, false);
  }

  parameters() {
    return [this.stem, ...this.blocks, this.hidden, this.output].flatMap((layer) => layer.parameters());
  }

  apply(images, width) {
    let x = tf.relu(this.stem.apply(images, width));
    for (const block of this.blocks) x = block.apply(x, width);
    x = tf.relu(this.hidden.apply(tf.mean(x, [1, 2]), width));
    return normalised(this.output.apply(x, width));
  }
}

/** Normalises the rows of a matrix. */
function normalised(x) {
  return tf.div(x, tf.sqrt(tf.sum(tf.square(x), 1, true)));
}

/** Returns the same values without gradient. */
const detached = (x) => tf.customGrad((x) => ({ value: tf.clone(x), gradFunc: (dy) => tf.zerosLike(dy) }))(x);

/** InfoNCE for the full network; for a sub-network the mean of InfoNCE and distillation from the full network. */
function lossOf(logits, teacher) {
  const positives = tf.slice(tf.logSoftmax(tf.div(logits, TEMPERATURE)), [0, 0], [logits.shape[0], 1]);
  const infoNce = tf.neg(tf.mean(positives));
  if (!teacher) return infoNce;
  const student = tf.logSoftmax(tf.div(logits, DISTILL_TEMPERATURE));
  const distillation = tf.mul(tf.mean(tf.sum(tf.mul(teacher, student), 1)), -(DISTILL_TEMPERATURE ** 2));
  return tf.add(tf.mul(infoNce, 1 - DISTILL_WEIGHT), tf.mul(distillation, DISTILL_WEIGHT));
}

/**
 * The training state, with a batch of noise on the device. With `joint`, there is one backward pass through the summed
 * loss, otherwise one per width.
 */
globalThis.Trainer = class {
  constructor(network, joint) {
    const { widths, batch, image_size, queue, dim } = network;
    Object.assign(this, { widths, joint });
    const others = widths.slice(1).reduce((sum, width) => sum + width, 0);
    // Reweighting 5: the full network's weight is 1 + the sum of the other widths, the others' is 1.
    this.weights = widths.map((_, index) => (index === 0 ? 1 + others : 1));
    this.query = new Encoder(network);
    this.key = new Encoder(network);
    this.parameters = this.query.parameters();
    this.key.parameters().forEach((parameter, index) => parameter.assign(this.parameters[index]));
    this.queue = tf.variable(normalised(tf.randomNormal([queue, dim])), false);
    this.optimizer = tf.train.momentum(LEARNING_RATE, MOMENTUM);
    this.views = [0, 1].map(() => tf.randomNormal([batch, image_size, image_size, 3]));
  }

  /** Takes a training step; returns its loss, read from the device. */
  async step() {
    const loss = tf.tidy(() => {
      this.key.parameters().forEach((parameter, index) => {
        parameter.assign(tf.add(tf.mul(parameter, KEY_MOMENTUM), tf.mul(this.parameters[index], 1 - KEY_MOMENTUM)));
      });
      const keys = this.key.apply(this.views[1], this.widths[0]);
      const { value, grads } = this.gradients(keys);
      for (const parameter of this.parameters) {
        if (parameter.shape.length === 1) continue;
        grads[parameter.name] = tf.add(grads[parameter.name], tf.mul(parameter, WEIGHT_DECAY));
      }
      this.optimizer.applyGradients(grads);
      const recent = tf.slice(this.queue, [0, 0], [this.queue.shape[0] - keys.shape[0], keys.shape[1]]);
      this.queue.assign(tf.concat([keys, recent]));
      return value;
    });
    const [read] = await loss.data();
    loss.dispose();
    if (!Number.isFinite(read)) throw new Error(`the loss is ${read}`);
    return read;
  }

  /** Returns the loss and the gradients of all widths. */
  gradients(keys) {
    let teacher;
    const lossAt = (width, index) => {
      const query = this.query.apply(this.views[0], width);
      const positive = tf.sum(tf.mul(query, keys), 1, true);
      const logits = tf.concat([positive, tf.matMul(query, this.queue, false, true)], 1);
      const loss = tf.mul(lossOf(logits, teacher), this.weights[index]);
      teacher ??= tf.keep(detached(tf.softmax(tf.div(logits, DISTILL_TEMPERATURE))));
      return loss;
    };
    const sum = (a, b) => (a && b ? tf.add(a, b) : (a ?? b));
    const passes = this.joint
      ? [() => this.widths.map(lossAt).reduce(sum)]
      : this.widths.map((width, index) => () => lossAt(width, index));
    const [first, ...rest] = passes.map((pass) => tf.variableGrads(pass));
    for (const { value, grads } of rest) {
      first.value = sum(first.value, value);
      for (const name of Object.keys(grads)) first.grads[name] = sum(first.grads[name], grads[name]);
    }
    teacher.dispose();
    return first;
  }
};
