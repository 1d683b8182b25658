//! Step 1: contrastive learning, on pictures and cosines of the page's recorded training.

use leptos::prelude::*;
use wasm_bindgen_futures::spawn_local;

use super::{Step, range_input::RangeInput};
use crate::train::{self, PairPictures};

pub const STEP: Step = Step {
    title: "Learning without labels",
    text: "lesson/contrast.html",
    control: || view! { <Contrast/> }.into_any(),
    live: None,
};

/// A view to find the other view of, the candidates with their shares of the softmax, and a slider for the temperature.
#[component]
fn Contrast() -> impl IntoView {
    let recorded = RwSignal::new(Vec::<PairPictures>::new());
    let failed = RwSignal::new(None::<String>);
    spawn_local(async move {
        match train::introduction_pairs().await {
            Ok(pairs) => recorded.set(pairs),
            Err(why) => failed.set(Some(format!("The pictures could not be loaded ({why}): reload the page."))),
        }
    });
    let (query, moment, temperature) = (RwSignal::new(0), RwSignal::new(f64::INFINITY), RwSignal::new(0.2));
    let last = move || recorded.with(Vec::len).saturating_sub(1);
    let latest = move || (moment.get() as usize).min(last());
    let with_latest =
        move |read: &dyn Fn(&PairPictures) -> AnyView| recorded.with(|recorded| recorded.get(latest()).map(read));
    let queries = move || {
        with_latest(&|PairPictures { pictures, .. }| {
            let choice = |(index, [_, view, _]): (usize, &[String; 3])| {
                let is_chosen = move || query.get() == index;
                view! {
                    <label>
                        <input type="radio" name="query" prop:checked=is_chosen on:change=move |_| query.set(index)/>
                        <img src=view.clone() alt=format!("View of picture {}", index + 1)/>
                    </label>
                }
                .into_any()
            };
            pictures.iter().enumerate().map(choice).collect::<Vec<_>>().into_any()
        })
    };
    let candidates = move || {
        with_latest(&|PairPictures { pairs, pictures }| {
            let cosines = pairs.cosines.get(query.get()).map_or(&[][..], Vec::as_slice);
            let shares = shares(cosines, temperature.get());
            let candidate = |(index, [.., view]): (usize, &[String; 3])| {
                let (share, cosine) = (shares.get(index).unwrap_or(&0.0), cosines.get(index).unwrap_or(&0.0));
                let kind = if index == query.get() { "positive" } else { "negative" };
                format!(
                    r#"<li class="{kind}"><img src="{view}" alt=""><span>{kind}</span>
                    <span class="share"><span class="bar" style="width:{:.1}%"></span></span>
                    <span>{:.0} %</span><small>cosine {cosine:.2}</small></li>"#,
                    100.0 * share,
                    100.0 * share,
                )
            };
            let items: String = pictures.iter().enumerate().map(candidate).collect();
            let loss = shares.get(query.get()).map_or(f64::NAN, |share| -share.ln());
            view! {
                <ol class="candidates" inner_html=items></ol>
                <p class="verdict" role="status">
                    <strong>{format!("InfoNCE = {loss:.2}")}</strong>
                    {format!(" (all alike: {:.2})", (shares.len() as f64).ln())}
                </p>
            }
            .into_any()
        })
    };
    let step = move || recorded.with(|recorded| recorded.get(latest()).map(|at| at.pairs.step));
    view! {
        <p class="problem" role="alert">{failed}</p>
        <fieldset class="choices queries"><legend>"Query"</legend>{queries}</fieldset>
        {candidates}
        <RangeInput label="Temperature" value=temperature min=0.05 max=1.0 step=0.05 digits=2/>
        {move || (last() > 0).then(|| view! {
            <label class="range-input">
                <span>"Training"</span>
                <input
                    type="range" min="0" max=last().to_string() prop:value=move || latest().to_string()
                    on:input:target=move |event| moment.set(event.target().value_as_number())
                />
                <output>{move || step().map(|step| format!("step {step}"))}</output>
            </label>
        })}
    }
}

/// Returns the softmax of the cosines divided by the temperature.
fn shares(cosines: &[f32], temperature: f64) -> Vec<f64> {
    let exponentials: Vec<f64> = cosines.iter().map(|cosine| (f64::from(*cosine) / temperature).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|exponential| exponential / sum).collect()
}
