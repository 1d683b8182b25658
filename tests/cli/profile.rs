use crate::program::{refuses, slimclr, succeeds};

#[test]
fn the_costs_equal_the_papers() {
    let small = ["--depth", "18", "--widths", "1.0"];
    let b0 = ["--backbone", "efficientnet-b0", "--widths", "1.0"];
    for (network, costs) in [
        (&[][..], &["25.6 M  4.09 G", "14.8 M  2.32 G", "6.92 M  1.05 G", "1.99 M   278 M"][..]),
        (&small, &["11.7 M  1.81 G"]),
        (&b0, &["5.29 M   386 M"]),
    ] {
        let preset = ["profile", "--preset", "imagenet-mocov2", "--classes", "1000"];
        let output = slimclr(&[&preset[..], network].concat());
        succeeds(&output);
        let table = String::from_utf8_lossy(&output.stdout).into_owned();
        let total = table.lines().last().unwrap();
        assert!(total.trim_start().starts_with("total") && costs.iter().all(|cost| total.contains(cost)), "{table}");
        assert!(table.contains("stem") && table.lines().all(|line| line.len() <= 100), "{table}");
    }
    refuses(&slimclr(&["profile", "--backbone", "efficientnet-b0"]), "EfficientNet-B0 has one size only");
}

#[test]
fn a_run_on_many_devices_is_modelled() {
    let output = slimclr(&["profile", "--ranks", "8,64", "--device", "h100", "--precision", "f16"]);
    succeeds(&output);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.lines().all(|line| line.chars().count() <= 160), "{text}");
    let hours = |devices: &str| -> f64 {
        let row = text.lines().find(|line| line.split_whitespace().next() == Some(devices)).unwrap();
        row.split_whitespace().next_back().unwrap().parse().unwrap()
    };
    assert!(hours("8") > hours("64") && hours("64") > hours("8") / 8.0, "{text}");
    refuses(&slimclr(&["profile", "--ranks", "8", "--device", "cpu"]), "--device cpu: with --ranks, it is one of v100");
    refuses(&slimclr(&["profile", "--ranks", "7"]), "7");
}
