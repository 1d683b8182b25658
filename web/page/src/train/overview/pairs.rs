//! Pictures of a batch, two views of each, and lines where a width finds one view by the other.

use leptos::prelude::*;
use slimclr_protocol::Pairs;

use super::super::{pair_pictures::PairPictures, run_events::RunEvents};

/// SVG units from one picture to the next.
const PITCH: usize = 64;
/// Side of a picture.
const SIDE: usize = 56;
/// Tops of picture, first and second view.
const TOPS: [usize; 3] = [0, 68, 172];
/// Distance between the lines of two widths.
const BETWEEN_LINES: f64 = 10.0;

impl RunEvents {
    /// Calls `read` with the latest pairs that are shown.
    pub fn with_pairs<T>(self, read: impl FnOnce(&PairPictures) -> T) -> Option<T> {
        let until = self.until.get().unwrap_or(u64::MAX);
        self.pairs.with(|all| all.iter().rev().find(|at| at.pairs.step <= until).or(all.first()).map(read))
    }
}

/// The latest pictures of the run, with their views and lines.
#[component]
pub fn PairsView(run: RunEvents) -> impl IntoView {
    let step = Memo::new(move |_| run.with_pairs(|latest| latest.pairs.step));
    view! {
        {move || step.get().and_then(|_| untrack(|| run.with_pairs(drawing)))}
    }
}

fn drawing(PairPictures { pairs, pictures }: &PairPictures) -> AnyView {
    let (width, height) = (pictures.len() * PITCH, TOPS[2] + SIDE);
    let found: Vec<String> = pairs.found.iter().map(usize::to_string).collect();
    let label = format!(
        "{} pictures with two views of each. The widths, widest first, find {} of {} pictures by their views.",
        pictures.len(),
        found.join(", "),
        pairs.images
    );
    let columns: Vec<AnyView> = (0..pictures.len()).map(|image| column(pairs, &pictures[image], image)).collect();
    view! {
        <figure class="pairs">
            <svg role="img" aria-label=label viewBox=format!("0 0 {width} {height}")>{columns}</svg>
            <figcaption>
                {format!(
                    "Each column shows a picture and two random views of it. A line means that this width finds the \
                     picture: of {} lower views, the picture’s own is most similar to the upper view.",
                    pairs.images
                )}
            </figcaption>
        </figure>
    }
    .into_any()
}

/// Draws a picture, its views and the lines of the widths that find them.
fn column(pairs: &Pairs, pictures: &[String; 3], image: usize) -> AnyView {
    let left = image * PITCH + (PITCH - SIDE) / 2;
    let picture = |(url, top): (&String, usize)| {
        view! { <image href=url.clone() x=left y=top width=SIDE height=SIDE/> }.into_any()
    };
    let pictures: Vec<AnyView> = pictures.iter().zip(TOPS).map(picture).collect();
    let middle = (left + SIDE / 2) as f64;
    let [_, first, second] = TOPS;
    let lines = pairs.is_found.iter().enumerate().map(|(width, is_found)| {
        let x = middle + (width as f64 - (pairs.is_found.len() - 1) as f64 / 2.0) * BETWEEN_LINES;
        let class = if is_found.get(image) == Some(&true) { "found" } else { "missed" };
        format!(r#"<path class="w{width} {class}" d="M{x} {}V{}"/>"#, first + SIDE + 3, second - 3)
    });
    let origin = format!(r#"<path class="origin" d="M{middle} {}v8"/>"#, TOPS[0] + SIDE + 2);
    let lines = origin + &lines.collect::<String>();
    view! { <g>{pictures}<g inner_html=lines></g></g> }.into_any()
}
