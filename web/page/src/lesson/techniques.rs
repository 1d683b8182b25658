//! Step 5: SlimCLR's techniques against interference.

use leptos::prelude::*;

use super::{Live, Step, answer, range_input::RangeInput};

/// The widths, widest first.
const WIDTHS: [f64; 4] = [1.0, 0.75, 0.5, 0.25];
/// The weight of the distillation loss in a sub-network's loss.
const DISTILL_WEIGHT: f64 = 0.5;
/// The end of slow start, in percent of the training.
const SLOW_START: f64 = 50.0;

pub const STEP: Step = Step {
    title: "Three techniques",
    text: "lesson/techniques.html",
    control: || view! { <LossWeights/> }.into_any(),
    live: Some(Live {
        text: "lesson/techniques-run.html",
        setups: &[
            (
                "All three",
                "slow_start=0&distill=none&reweighting=0&compare=yes&b.slow_start=0.5&b.distill=seed&b.reweighting=5",
            ),
            ("Slow start", "slow_start=0&distill=none&reweighting=0&compare=yes&b.slow_start=0.5"),
            ("Distillation", "slow_start=0&distill=none&reweighting=0&compare=yes&b.distill=seed"),
            ("Reweighting", "slow_start=0&distill=none&reweighting=0&compare=yes&b.reweighting=5"),
        ],
        figures: &["losses", "figure3", "accuracy"],
        answer: answer::lead,
    }),
};

/// Switches for the techniques, and the loss weight of each width at a point of the training.
#[component]
fn LossWeights() -> impl IntoView {
    let [slow_start, distillation, reweighting] = [RwSignal::new(false), RwSignal::new(false), RwSignal::new(false)];
    let progress = RwSignal::new(25.0);
    let weight = move |index: usize| {
        let full_only = slow_start.get() && progress.get() < SLOW_START;
        match index {
            0 if reweighting.get() && !full_only => 1.0 + WIDTHS[1..].iter().sum::<f64>(),
            0 => 1.0,
            _ if full_only => 0.0,
            _ => 1.0,
        }
    };
    let distilled =
        move |index: usize| if distillation.get() && index > 0 { DISTILL_WEIGHT * weight(index) } else { 0.0 };
    let total = move || (0..WIDTHS.len()).map(weight).sum::<f64>();
    let switch = |name: &'static str, on: RwSignal<bool>| {
        view! {
            <label>
                <input type="checkbox" prop:checked=on on:change:target=move |event| on.set(event.target().checked())/>
                {name}
            </label>
        }
    };
    view! {
        <fieldset class="choices">
            <legend>"Techniques"</legend>
            {switch("Slow start", slow_start)}{switch("Distillation", distillation)}{switch("Reweighting", reweighting)}
        </fieldset>
        <RangeInput label="Progress of training" value=progress min=0.0 max=100.0 step=5.0 digits=0 unit=" %"/>
        <table class="weights">
            <caption>"Loss weights of each width"</caption>
            <thead><tr>
                <th scope="col">"Width"</th><th scope="col">"InfoNCE"</th>
                <th scope="col">"KD"</th><th scope="col">"Share"</th>
            </tr></thead>
            <tbody>
                {WIDTHS.into_iter().enumerate().map(|(index, width)| {
                    let share = move || 100.0 * weight(index) / total();
                    let length = move || format!("{}%", share());
                    view! {
                        <tr>
                            <th scope="row">{width}</th>
                            <td>{move || format!("{:.1}", weight(index) - distilled(index))}</td>
                            <td>{move || format!("{:.1}", distilled(index))}</td>
                            <td>
                                <span class="share"><span class="bar" aria-hidden="true" style:width=length></span></span>
                                {move || format!("{:.0} %", share())}
                            </td>
                        </tr>
                    }
                }).collect_view()}
            </tbody>
        </table>
    }
}
