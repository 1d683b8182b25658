use burn::tensor::Device;
use slimclr_data::{
    augment::{AugmentConfig, Augmenter, Normalisation, ViewPlan, view_rng},
    batch::{CroppedViews, PlannedViews},
    image::Image,
    sampler::Finish,
};

use super::{DeviceImages, finish, finish_for};

#[test]
fn views_of_uploaded_images_match_the_augmenter() {
    let (width, height, size) = (12, 9, 8);
    let images: Vec<Image> = (0..3)
        .map(|number| {
            let pixels = (0..3 * width * height).map(|i| (i * 31 + number * 57) as u8).collect();
            Image { width, height, pixels }
        })
        .collect();
    let recipe = AugmentConfig::simclr(Normalisation::CIFAR10, size);
    let order = [2, 0, 1, 2];
    let plan = |number, image| {
        (image, ViewPlan::draw(&recipe, [width, height], &mut view_rng(1, 2, u64::from(image), number)))
    };
    let plans = (0..).zip(order).map(|(number, image)| plan(number, image)).collect();
    let uploaded = DeviceImages::upload(images.iter(), [width, height], &Device::flex());
    let planned = PlannedViews { plans, size, normalisation: recipe.normalisation };
    let views: Vec<f32> = uploaded.views(planned).into_data().iter().collect();
    let mut view = vec![0.0; 3 * size * size];
    for ((number, image), made) in (0..).zip(order).zip(views.chunks_exact(view.len())) {
        let mut rng = view_rng(1, 2, u64::from(image), number);
        Augmenter::new().view(&images[image as usize], &recipe, size, &mut rng, &mut view).unwrap();
        assert_eq!(made, view);
    }
}

#[test]
fn images_are_not_uploaded_to_the_cpu() {
    let image = Image { width: 1, height: 1, pixels: vec![0; 3] };
    assert!(DeviceImages::on_gpu([image].iter(), &Device::flex()).is_none());
}

#[test]
fn cropped_views_are_finished_as_the_augmenter_finishes_them() {
    // Crops of the image's size have no fractions to round.
    let (size, device) = (9, Device::flex());
    let image = Image { width: size, height: size, pixels: (0..3 * 81).map(|i| (i * 31 % 256) as u8).collect() };
    let recipe = AugmentConfig { crop_area: [1.0, 1.0], ..AugmentConfig::moco_v2(Normalisation::CIFAR10, 33) };
    let plans: Vec<ViewPlan> = (0..20)
        .map(|number| ViewPlan::draw(&recipe, [size; 2], &mut view_rng(0, 0, number, 0)))
        .filter(|plan| [plan.crop.width, plan.crop.height] == [size; 2])
        .collect();
    assert!(plans.iter().any(|plan| plan.effects.sigma.is_some()));
    let mut augmenter = Augmenter::new();
    let mut pixels = vec![0; plans.len() * 3 * size * size];
    for (plan, view) in plans.iter().zip(pixels.chunks_exact_mut(3 * size * size)) {
        augmenter.cropped(&(&image).into(), plan, size, view);
    }
    let effects = plans.iter().map(|plan| plan.effects.clone()).collect();
    let views = CroppedViews { pixels, size, effects, normalisation: recipe.normalisation };
    let made: Vec<f32> = finish(views, &device).into_data().iter().collect();
    let mut view = vec![0.0; 3 * size * size];
    for (plan, made) in plans.iter().zip(made.chunks_exact(view.len())) {
        augmenter.planned(&(&image).into(), plan, size, &recipe.normalisation, &mut view);
        assert!(made.iter().zip(&view).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}

#[test]
fn the_cpu_takes_finished_views() {
    assert_eq!(finish_for(&Device::flex()), Finish::Host);
}
