/// <reference lib="dom" />

/** Pixels in rows, from the top left, of 3 (RGB) or 4 bytes (RGBA) each; an `ImageData` is one. Opacity is ignored. */
export interface Pixels {
  readonly data: Uint8Array | Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
}

/** An image of any size. Node.js has `Pixels` only. */
export type Image =
  | Pixels
  | ImageData
  | ImageBitmap
  | HTMLCanvasElement
  | HTMLImageElement
  | HTMLVideoElement
  | OffscreenCanvas
  | VideoFrame;

export interface LoadOptions {
  /** What to compute on; `"cpu"` unless given. `"webgpu"` fetches another module, which is larger. */
  device?: "cpu" | "webgpu";
}

export interface ClassProbability {
  /** The class' name, or its number if the file has no names. */
  readonly class: string;
  /** From 0 to 1. */
  readonly probability: number;
}

/** A trained network. Images are prepared as in `slimclr evaluate`: resized, cropped and normalised. */
export interface Network {
  readonly device: "cpu" | "webgpu";
  /** The widths, the widest first; 1 is the full network. An exported width is the only one of its file. */
  readonly widths: readonly number[];
  /** Names of the classes; empty if the network has no classifier. */
  readonly classes: readonly string[];
  /** Side of the square that images are resized and cropped to, in pixels. */
  readonly imageSize: number;

  /** Returns the number of features at a width; at the widest unless given. */
  dimension(width?: number): number;

  /** Computes the features of an image, or of several, at a width; at the widest unless given. */
  embed(image: Image, width?: number): Promise<Float32Array>;
  embed(images: readonly Image[], width?: number): Promise<Float32Array[]>;

  /** Classifies an image, or several: all classes, the most probable first. */
  classify(image: Image, width?: number): Promise<ClassProbability[]>;
  classify(images: readonly Image[], width?: number): Promise<ClassProbability[][]>;

  /** Frees the network's memory. */
  dispose(): void;
}

/**
 * Loads a network from the bytes of its file: a run's checkpoint, a snapshot, a width that `slimclr export` has written as
 * safetensors, or a PyTorch or safetensors file of another program.
 *
 * Rejects with an `Error` that says in one sentence what is wrong with the file, or that there is no such device.
 */
export function load(bytes: ArrayBuffer | ArrayBufferView, options?: LoadOptions): Promise<Network>;
