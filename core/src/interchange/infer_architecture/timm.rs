//! timm's names of an EfficientNet's tensors, which DisCo's students have.

/// Beginnings of names outside the blocks in timm, and in torchvision.
const OUTSIDE: [(&str, &str); 4] = [
    ("conv_stem.", "features.0.0."),
    ("bn1.", "features.0.1."),
    ("conv_head.", "features.8.0."),
    ("bn2.", "features.8.1."),
];
/// Beginnings of names in a block of the first stage, which does not expand.
const FIRST_STAGE: [(&str, &str); 6] = [
    ("conv_dw.", "0.0."),
    ("bn1.", "0.1."),
    ("se.conv_reduce.", "1.fc1."),
    ("se.conv_expand.", "1.fc2."),
    ("conv_pw.", "2.0."),
    ("bn2.", "2.1."),
];
/// Beginnings of names in a block of a later stage.
const LATER_STAGES: [(&str, &str); 8] = [
    ("conv_pw.", "0.0."),
    ("bn1.", "0.1."),
    ("conv_dw.", "1.0."),
    ("bn2.", "1.1."),
    ("se.conv_reduce.", "2.fc1."),
    ("se.conv_expand.", "2.fc2."),
    ("conv_pwl.", "3.0."),
    ("bn3.", "3.1."),
];

/// Returns torchvision's name of the tensor that timm calls `name`. Names that are not of the backbone stay as they are.
pub fn torchvision_name(name: &str) -> String {
    in_block(name).or_else(|| replaced(name, &OUTSIDE)).unwrap_or_else(|| name.to_owned())
}

/// Translates the name of a tensor in a block: `blocks.1.0.conv_pw.weight`.
fn in_block(name: &str) -> Option<String> {
    let (stage, rest) = name.strip_prefix("blocks.")?.split_once('.')?;
    let (place, layer) = rest.split_once('.')?;
    let stage: usize = stage.parse().ok()?;
    let layer = replaced(layer, if stage == 0 { &FIRST_STAGE } else { &LATER_STAGES })?;
    Some(format!("features.{}.{place}.block.{layer}", stage + 1))
}

fn replaced(name: &str, beginnings: &[(&str, &str)]) -> Option<String> {
    beginnings.iter().find_map(|(theirs, ours)| Some(format!("{ours}{}", name.strip_prefix(theirs)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_get_torchvisions_names() {
        for (timm, torchvision) in [
            ("conv_stem.weight", "features.0.0.weight"),
            ("bn1.running_mean", "features.0.1.running_mean"),
            ("blocks.0.1.conv_dw.weight", "features.1.1.block.0.0.weight"),
            ("blocks.0.0.se.conv_expand.bias", "features.1.0.block.1.fc2.bias"),
            ("blocks.0.0.bn2.weight", "features.1.0.block.2.1.weight"),
            ("blocks.6.0.conv_pwl.weight", "features.7.0.block.3.0.weight"),
            ("blocks.3.2.bn2.bias", "features.4.2.block.1.1.bias"),
            ("bn2.weight", "features.8.1.weight"),
            ("classifier.0.weight", "classifier.0.weight"),
            ("blocks.0.0.attn.weight", "blocks.0.0.attn.weight"),
        ] {
            assert_eq!(torchvision_name(timm), torchvision);
        }
    }
}
