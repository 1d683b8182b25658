//! Products of tiles by vectors that multiply and add pairs of bfloat16.

use std::{
    arch::x86_64::{
        __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_ps,
        _mm512_storeu_ps,
    },
    mem::transmute,
};

use super::product::{Product, SIDE};

/// Rows of sums at once: with two columns of tiles, half of the registers.
const ROWS: usize = SIDE / 2;

/// Computes `rows` by `COLUMNS` tiles of sums.
///
/// # Safety
/// As of [`Multiplier::multiply`](super::tiles::Multiplier::multiply); the processor has AVX-512 BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub unsafe fn multiply<const COLUMNS: usize>(rows: usize, product: &Product) {
    for (tile, first) in (0..rows).flat_map(|tile| (0..SIDE).step_by(ROWS).map(move |first| (tile, first))) {
        // SAFETY: guaranteed by the caller, here and below.
        let sums = |row: usize, column: usize| unsafe {
            product.sums[tile].byte_add((first + row) * product.sums_pitch).add(column * SIDE)
        };
        let mut totals = [[_mm512_setzero_ps(); COLUMNS]; ROWS];
        if product.continues {
            for (row, totals) in totals.iter_mut().enumerate() {
                for (column, total) in totals.iter_mut().enumerate() {
                    // SAFETY: as above.
                    *total = unsafe { _mm512_loadu_ps(sums(row, column)) };
                }
            }
        }
        let mut left = product.left[tile].wrapping_add(first * product.left_pitch);
        let mut right = product.right;
        for _ in 0..product.runs {
            for _ in 0..product.terms {
                for pair in 0..SIDE {
                    // SAFETY: as above; all have 512 bits.
                    unsafe {
                        let mut columns = [transmute::<__m512i, __m512bh>(_mm512_set1_epi32(0)); COLUMNS];
                        for (column, vector) in columns.iter_mut().enumerate() {
                            let right = right.add(pair * product.right_pitch).cast::<[u32; SIDE]>().add(column);
                            *vector = transmute::<__m512i, __m512bh>(_mm512_loadu_si512(right.cast()));
                        }
                        for (row, totals) in totals.iter_mut().enumerate() {
                            let left = left.add(row * product.left_pitch).cast::<i32>().add(pair).read_unaligned();
                            let left = transmute::<__m512i, __m512bh>(_mm512_set1_epi32(left));
                            for (total, right) in totals.iter_mut().zip(columns) {
                                *total = _mm512_dpbf16_ps(*total, left, right);
                            }
                        }
                    }
                }
                left = left.wrapping_add(product.left_step);
                right = right.wrapping_add(product.right_step);
            }
            left = left.wrapping_add(product.left_jump);
        }
        for (row, totals) in totals.iter().enumerate() {
            for (column, total) in totals.iter().enumerate() {
                // SAFETY: as above.
                unsafe { _mm512_storeu_ps(sums(row, column), *total) };
            }
        }
    }
}
