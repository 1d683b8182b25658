//! Step 6: students of a teacher, and what they cost.

use leptos::prelude::*;

use super::{Live, Step, answer, range_input::RangeInput};

/// The sizes that may be needed: widths, widest first.
const SIZES: [f64; 4] = [1.0, 0.75, 0.5, 0.25];
/// The largest cost that a bar shows, in steps of the full network.
const LARGEST: f64 = 25.0;

pub const STEP: Step = Step {
    title: "With a teacher, or without",
    text: "lesson/teacher.html",
    control: || view! { <Bill/> }.into_any(),
    live: Some(Live {
        text: "lesson/teacher-run.html",
        setups: &[
            ("SEED", "multiplier=0.5&image_size=32&slow_start=0&compare=yes&b.method=seed"),
            ("DisCo", "multiplier=0.5&image_size=32&slow_start=0&compare=yes&b.method=disco"),
        ],
        figures: &["accuracy"],
        answer: answer::lead,
    }),
};

/// The cost of training networks of several sizes, with a teacher and without.
///
/// A forward pass costs the square of the width, a backward pass twice that. A student's step has a forward pass of the
/// teacher.
#[component]
fn Bill() -> impl IntoView {
    let needed = SIZES.map(|_| RwSignal::new(true));
    let (teacher, is_given) = (RwSignal::new(2.0_f64), RwSignal::new(false));
    let of_sizes = move |cost: &dyn Fn(f64) -> f64| {
        SIZES.iter().zip(needed).filter(|(_, needed)| needed.get()).map(|(width, _)| cost(*width)).sum::<f64>()
    };
    let of_teacher = move || if is_given.get() { 0.0 } else { teacher.get().powi(2) };
    let of_students = move || of_sizes(&|width| width.powi(2) + teacher.get().powi(2) / 3.0);
    // The full network always trains.
    let of_slimmable = move || of_sizes(&|width| width.powi(2)) + if needed[0].get() { 0.0 } else { 1.0 };
    let check = |name: String, on: RwSignal<bool>| {
        view! {
            <label>
                <input type="checkbox" prop:checked=on on:change:target=move |event| on.set(event.target().checked())/>
                {name}
            </label>
        }
    };
    let row = |name: &'static str, cost: Signal<f64>| {
        let length = move || format!("{:.1}%", 100.0 * (cost.get() / LARGEST).min(1.0));
        view! {
            <tr>
                <th scope="row">{name}</th>
                <td><span class="share"><span class="bar" aria-hidden="true" style:width=length></span></span></td>
                <td>{move || format!("{:.1}", cost.get())}</td>
            </tr>
        }
    };
    view! {
        <fieldset class="choices">
            <legend>"Widths that you need"</legend>
            {SIZES.iter().zip(needed).map(|(width, on)| check(width.to_string(), on)).collect_view()}
        </fieldset>
        <RangeInput label="Width of the teacher" value=teacher min=1.0 max=4.0 step=0.5 digits=1/>
        {check("A trained teacher is available".into(), is_given)}
        <table class="weights bill">
            <caption>"Cost of training, in steps of the full network"</caption>
            <tbody>
                {row("Teacher", Signal::derive(of_teacher))}
                {row("Its students", Signal::derive(of_students))}
                {row("Together", Signal::derive(move || of_teacher() + of_students()))}
                {row("Without a teacher, all in one", Signal::derive(of_slimmable))}
            </tbody>
        </table>
    }
}
