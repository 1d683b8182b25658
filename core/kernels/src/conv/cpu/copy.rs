//! Copies of rows of pixels.

use crate::cpu::{Stored, vectorised};

/// Copies a row of pixels, which is too short for `memcpy` to pay off.
#[inline(always)]
pub fn copy<T: Copy>(source: &[T], target: &mut [T]) {
    const FEW: usize = 8;
    let ((source, last), (target, rest)) = (source.as_chunks::<FEW>(), target[..source.len()].as_chunks_mut::<FEW>());
    target.iter_mut().zip(source).for_each(|(target, source)| *target = *source);
    rest.iter_mut().zip(last).for_each(|(target, source)| *target = *source);
}

/// Copies rows of `width` pixels to rows `pitch` apart, in f32.
pub fn copy_rows<T: Stored>(source: &[T], width: usize, target: &mut [f32], pitch: usize) {
    match T::as_f32(source) {
        Some(source) => copy_rows_of_f32(source, width, target, pitch),
        None => vectorised(
            #[inline(always)]
            || {
                for (source, target) in source.chunks_exact(width).zip(target.chunks_mut(pitch)) {
                    target.iter_mut().zip(source).for_each(|(target, pixel)| *target = pixel.widen());
                }
            },
        ),
    }
}

fn copy_rows_of_f32(source: &[f32], width: usize, target: &mut [f32], pitch: usize) {
    match width {
        8 => copy_rows_of::<8>(source, target, pitch),
        16 => copy_rows_of::<16>(source, target, pitch),
        32 => copy_rows_of::<32>(source, target, pitch),
        _ => {
            for (source, target) in source.chunks_exact(width).zip(target.chunks_mut(pitch)) {
                target[..width].copy_from_slice(source);
            }
        }
    }
}

/// Copies rows of a constant width, each in a few instructions.
fn copy_rows_of<const WIDTH: usize>(source: &[f32], target: &mut [f32], pitch: usize) {
    let rows = source.as_chunks::<WIDTH>().0;
    for (source, target) in rows.iter().zip(target.chunks_mut(pitch)) {
        *target.first_chunk_mut().expect("the target has room for every row") = *source;
    }
}
