//! The whole page, for runs that lack this or that.

use slimclr_core::{
    config::Config,
    event::{Evaluated, Event, Interference, Started, Step},
    image::Image,
    interference::magnitude::GradientNorms,
    profile::Profile,
};

use super::{Neighbours, Report, html};

const WIDTHS: [f64; 4] = [1.0, 0.75, 0.5, 0.25];

fn started(step: u64) -> Event {
    let cost = |width: f64| Profile {
        width,
        parameters: (3e5 * width) as u64,
        macs: (4e7 * width * width) as u64,
        stages: Vec::new(),
    };
    Event::Started(Box::new(Started {
        config: Config { widths: WIDTHS.into(), ..Config::cifar10() },
        device: "a <device> & \"more\"".into(),
        images: 5000,
        normalisation: None,
        step,
        steps: 2000,
        steps_per_epoch: 40,
        slow_start_step: 1000,
        profile: WIDTHS.map(cost).into(),
    }))
}

fn step(step: u64, loss: f64) -> Event {
    let narrow = if step > 1000 { 10.0 * loss } else { 0.0 };
    let losses = vec![loss, narrow, narrow, narrow];
    let epoch = step as f64 / 40.0;
    Event::Step(Step { step, epoch, loss, losses, learning_rate: 0.06, images_per_second: 1e3 })
}

fn interference(step: u64, norms: [f64; 4], rest: f64) -> Event {
    let gradient = GradientNorms { norms: norms.into(), rest };
    Event::Interference(Interference {
        step,
        epoch: step as f64 / 40.0,
        gradient,
        last_layers: Default::default(),
        agreement: Default::default(),
        stages: Vec::new(),
    })
}

fn evaluated(step: u64, knn: f64) -> impl Iterator<Item = Event> {
    WIDTHS.into_iter().map(move |width| {
        Event::Evaluated(Evaluated {
            step,
            epoch: step as f64 / 40.0,
            width,
            knn: knn * width.sqrt(),
            knn_standard_error: 0.005,
            ..Evaluated::default()
        })
    })
}

/// An evaluation by `slimclr evaluate`.
fn probed(step: u64, knn: f64) -> impl Iterator<Item = Event> {
    evaluated(step, knn).map(|event| match event {
        Event::Evaluated(evaluated) => Event::Evaluated(Evaluated {
            probe: Some(0.8),
            probe_top5: Some(0.95),
            probe_slimmable: Some(0.6),
            probe_slimmable_top5: Some(0.9),
            ridge: Some(0.7),
            ridge_top5: Some(0.92),
            ..evaluated
        }),
        other => other,
    })
}

fn complete() -> Vec<Event> {
    let mut events = vec![started(0)];
    events.extend(evaluated(0, 0.3));
    for n in (10..=2000).step_by(10) {
        events.push(step(n, 8.0 / (n as f64).ln()));
        events.push(interference(n, [0.1, 0.08, 0.06, 0.05], 0.07));
    }
    events.extend(probed(2000, 0.7));
    events.push(Event::Finished { step: 2000, seconds: 725.0 });
    events
}

/// The page of `events`, with SVGs that are well-formed and without NaN, and with no id twice.
fn page(events: Vec<Event>) -> String {
    let page = html(&[Report { name: "run <1>".into(), events, landscape: None, neighbours: Vec::new() }]);
    let mut ids = Vec::new();
    for (start, _) in page.match_indices("<svg") {
        let end = start + page[start..].find("</svg>").unwrap() + "</svg>".len();
        let tree = roxmltree::Document::parse(&page[start..end]).unwrap();
        for attribute in tree.descendants().flat_map(|node| node.attributes()) {
            assert!(!attribute.value().contains("NaN") && !attribute.value().contains("inf"), "{attribute:?}");
            if attribute.name() == "id" {
                ids.push(attribute.value().to_owned());
            }
        }
    }
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all);
    page
}

fn says(page: &str, what: &str) {
    assert!(page.contains(what), "not on the page: {what}");
}

#[test]
fn a_complete_run_has_every_figure_and_only_the_neighbours_missing() {
    let page = page(complete());
    says(&page, "run &lt;1&gt;");
    says(&page, "It took 2,000 steps (50.0 epochs) in 12 min 5 s on a &lt;device&gt; &amp; &quot;more&quot;.");
    says(&page, "Width 0.25 classifies 35.0 % of the test images correctly with 6.2 % of");
    says(&page, "<td>30.0 ±\u{a0}0.5</td><td>70.0 ±\u{a0}0.5</td><td>80.0\u{a0}/ 95.0</td>");
    says(&page, "<td>60.0\u{a0}/ 90.0</td><td>70.0\u{a0}/ 92.0</td>");
    says(&page, "what sharing the layer costs");
    for id in ["accuracy-by-cost", "probes-by-cost", "accuracy-over-training", "loss-0", "loss-3", "gradient-norms"] {
        says(&page, &format!(r#"id="{id}-title""#));
    }
    says(&page, "slow start ends");
    says(&page, "temperature = 0.1");
    assert_eq!(page.matches(r#"class="missing""#).count(), 1);
    says(&page, "No neighbours were looked up.");
}

#[test]
fn the_page_asks_the_network_for_nothing() {
    let page = page(complete()).replace(r#"xmlns="http://www.w3.org/2000/svg""#, "");
    for outside in ["http:", "https:", "url(", "@import", "<script", "src=\"/"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn losses_before_the_slow_start_ends_are_not_drawn() {
    let page = page(complete());
    says(&page, "<desc id=\"loss-0-desc\">From 3.474 to");
    // A tenfold 8 / ln 1010, not the zero of step 10.
    says(&page, "<desc id=\"loss-3-desc\">From 11.565 to");
}

#[test]
fn what_was_lost_with_a_run_that_was_cut_off_is_not_reported() {
    let mut events = vec![started(0), step(500, 3.0), step(900, 123.456), started(500), step(510, 2.0)];
    events.push(Event::Stopped { step: 510 });
    let page = page(events);
    says(&page, "It was stopped after 510 of 2,000 steps (12.8 epochs), resumed once on");
    says(&page, "From 3.000 to 2.000.");
    says(&page, "Not trained yet: slow start ends at step 1,000.");
}

#[test]
fn runs_that_hardly_began_say_what_is_missing() {
    says(&page(Vec::new()), "no beginning of a run");
    let begun = page(vec![started(0)]);
    for what in [
        "None of 2,000 steps was taken",
        "No width was evaluated,",
        "No linear probe was trained;",
        "No width was evaluated more than once",
        "No training step is recorded",
        "No gradient norms are recorded.",
        "The run has no evaluation after training. The run has no evaluation before training.",
    ] {
        says(&begun, what);
    }
    let untrained = page(std::iter::once(started(0)).chain(evaluated(0, 0.3)).collect());
    says(&untrained, "No evaluation after training is recorded.");
}

#[test]
fn numbers_that_are_none_leave_a_page() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, 0.0, -1.0] {
        let mut events = vec![started(0)];
        events.extend(evaluated(0, value));
        events.extend([step(10, value), step(20, 1.0), step(1500, value)]);
        events.extend([interference(10, [value; 4], value), interference(20, [1.0, value, 1.0, value], 0.0)]);
        events.extend(evaluated(1500, value));
        events.push(Event::Finished { step: 1500, seconds: value });
        says(&page(events), "Configuration");
    }
    let diverged = page(vec![started(0), step(10, 1.0), step(20, f64::NAN)]);
    says(&diverged, "Width 1.0 has no finite loss at 1 step;");
}

#[test]
fn long_runs_stay_small() {
    let mut events = complete();
    events.truncate(5);
    events.extend((1..=100_000).map(|n| step(n, 1.0 + (n % 7) as f64)));
    let page = page(events);
    says(&page, "Training step (thousands)");
    assert!(page.len() < 200_000, "{} bytes", page.len());
}

#[test]
fn neighbours_of_the_same_class_are_marked_by_more_than_colour() {
    let image = Image { width: 1, height: 1, pixels: vec![9, 9, 9] };
    let per_width = vec![(1.0, vec![(image.clone(), "cat".into()), (image.clone(), "<dog>".into())])];
    let neighbours = vec![Neighbours { query: image, class: "cat".into(), per_width }];
    let page = html(&[Report { name: "run".into(), events: complete(), landscape: None, neighbours }]);
    says(&page, r#"<li class="same"><img"#);
    says(&page, r#"alt="&lt;dog&gt;, another class"><span>&lt;dog&gt;</span></li>"#);
    says(&page, "<span>1 of 2</span>");
}
