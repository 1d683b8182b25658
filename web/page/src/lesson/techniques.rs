//! The fourth step: what SlimCLR does about interference.

use leptos::prelude::*;

use super::{Live, Step, dial::Dial};

/// The widths, widest first.
const WIDTHS: [f64; 4] = [1.0, 0.75, 0.5, 0.25];
/// The part of a sub-network's loss that the full network's answer has.
const TAUGHT: f64 = 0.5;
/// The part of the training that slow start leaves to the full network.
const ALONE: f64 = 50.0;

pub const STEP: Step = Step {
    title: "Three techniques",
    text: "lesson/techniques.html",
    control: || view! { <Recipe/> }.into_any(),
    live: Some(Live {
        watch: "Run A has nothing, run B all three. Start both, and compare the gradients and the accuracies of the same widths (differences below 3 points are \
         within noise). What a width of B is taught counts 25-fold, the square of a temperature, so its loss is on another scale.",
        setup: || {
            super::lab(
                [
                    &[("slow_start", "0"), ("distill", "none"), ("reweighting", "0")],
                    &[("slow_start", "0.5"), ("distill", "seed"), ("reweighting", "5")],
                ],
                &["slow_start", "distill", "reweighting"],
                &["losses", "figure3", "accuracy"],
            )
        },
    }),
};

/// The techniques as switches, and what each width's loss counts at a moment of the training.
#[component]
fn Recipe() -> impl IntoView {
    let [slow_start, distillation, reweighting] = [RwSignal::new(false), RwSignal::new(false), RwSignal::new(false)];
    let done = RwSignal::new(25.0);
    let weight = move |index: usize| {
        let alone = slow_start.get() && done.get() < ALONE;
        match index {
            0 if reweighting.get() && !alone => 1.0 + WIDTHS[1..].iter().sum::<f64>(),
            0 => 1.0,
            _ if alone => 0.0,
            _ => 1.0,
        }
    };
    let taught = move |index: usize| if distillation.get() && index > 0 { TAUGHT * weight(index) } else { 0.0 };
    let total = move || (0..WIDTHS.len()).map(weight).sum::<f64>();
    let switch = |name: &'static str, on: RwSignal<bool>| {
        view! {
            <label><input type="checkbox" prop:checked=on on:change:target=move |event| on.set(event.target().checked())/>{name}</label>
        }
    };
    view! {
        <fieldset class="choices">
            <legend>"Techniques"</legend>
            {switch("Slow start", slow_start)}{switch("Distillation", distillation)}{switch("Reweighting", reweighting)}
        </fieldset>
        <Dial label="Training done" value=done min=0.0 max=100.0 step=5.0 digits=0 unit=" %"/>
        <table class="weights">
            <caption>"What each width’s loss counts"</caption>
            <thead><tr><th scope="col">"Width"</th><th scope="col">"Contrastive"</th><th scope="col">"Taught"</th><th scope="col">"Share"</th></tr></thead>
            <tbody>
                {WIDTHS.into_iter().enumerate().map(|(index, width)| {
                    let share = move || 100.0 * weight(index) / total();
                    view! {
                        <tr>
                            <th scope="row">{width}</th>
                            <td>{move || format!("{:.1}", weight(index) - taught(index))}</td>
                            <td>{move || format!("{:.1}", taught(index))}</td>
                            <td><span class="share"><span class="bar" aria-hidden="true" style:width=move || format!("{}%", share())></span></span>
                                {move || format!("{:.0} %", share())}</td>
                        </tr>
                    }
                }).collect_view()}
            </tbody>
        </table>
    }
}
