//! Compares WebGPU, on a software Vulkan driver, with the CPU.
//!
//! The default build compiles to WGSL; the SPIR-V of the feature `vulkan` crashes Mesa's software driver.

use burn::tensor::{Device, DeviceKind, Distribution, Int, Tensor};
use futures::executor::block_on;
use slimclr_core::{
    augment::{Augmenter, Normalisation},
    config::Config,
    data::{
        bags::Bags,
        batch::{CroppedViews, HostBatch, HostViews},
        sampler::{Finish, Sampler},
    },
    encoder::BackboneKind,
    image::Image,
    interference::surgery::Surgery,
    kernel::{
        contrastive::{cross_entropy, moco_logits, normalize, soft_cross_entropy},
        conv::{conv, conv_plain},
        norm::{Normalised, batch_norm_train, batch_norm_train_plain, move_running},
        views::{DeviceImages, finish_for},
    },
    method::{Batch, MethodKind, StepPlan, Trainer, bingo::most_similar},
    optim::OptimizerKind,
    precision::{Precision, is_supported},
    visitor::Epilogue,
};

fn tiny() -> Config {
    Config {
        widths: vec![1.0, 0.5],
        batch: 4,
        queue: 8,
        dim: 8,
        hidden: 16,
        multiplier: 1.0,
        image_size: 8,
        bn_splits: 2,
        learning_rate: 0.05,
        ..Config::mini()
    }
}

/// Returns the losses of three steps, of which the first trains only the full network.
fn losses(config: &Config, device: &Device) -> Vec<f32> {
    let mut trainer = Trainer::new(config, config.encoder().unwrap().build().unwrap(), device);
    let step = |step: u64| {
        let plan = StepPlan {
            trains_subnetworks: step > 0,
            rate: config.learning_rate,
            key_momentum: 0.99,
            ..StepPlan::trial(0.0)
        };
        let losses = trainer.step(Batch::noise(config, step, device), plan).losses.weighted;
        Tensor::cat(losses, 0).into_data().iter::<f32>().collect::<Vec<_>>()
    };
    (0..3).flat_map(step).collect()
}

/// Asserts that the losses on WebGPU are within a relative `tolerance` of the CPU's.
#[track_caller]
fn check_webgpu(config: &Config, tolerance: f32) {
    let cpu = losses(config, &Device::flex());
    let gpu = losses(config, &Device::wgpu(DeviceKind::DefaultDevice));
    assert_eq!(cpu.len(), 1 + 2 * config.widths.len());
    for (cpu, gpu) in cpu.iter().zip(&gpu) {
        assert!((cpu - gpu).abs() <= tolerance * cpu.abs(), "the CPU's losses {cpu}, WebGPU's {gpu}: {config:?}");
    }
}

#[test]
fn moco_v2_agrees_with_the_cpu() {
    check_webgpu(&tiny(), 1e-3);
}

#[test]
fn moco_v3_by_lars_agrees_with_the_cpu() {
    check_webgpu(
        &Config { method: MethodKind::Mocov3, optimizer: OptimizerKind::Lars, clip_norm: 1.0, ..tiny() },
        1e-3,
    );
}

#[test]
fn simclr_and_supervised_training_agree_with_the_cpu() {
    for method in [MethodKind::Simclr, MethodKind::Supervised] {
        check_webgpu(&Config { method, accumulate: 2, bn_splits: 1, ..tiny() }, 1e-3);
    }
}

#[test]
fn recomputed_activations_agree_with_the_cpu() {
    check_webgpu(&Config { recompute: true, ..tiny() }, 1e-3);
}

#[test]
fn bags_agree_with_the_cpu() {
    let features = Tensor::<2>::random([3000, 16], Distribution::Normal(0.0, 1.0), &Device::flex());
    let on_gpu = Tensor::<2>::from_data(features.to_data(), &Device::wgpu(DeviceKind::DefaultDevice));
    for size in [1, 5, 7] {
        let [cpu, gpu] = [&features, &on_gpu].map(|features| block_on(most_similar(features, size)).unwrap());
        let differing = cpu.iter().zip(&gpu).filter(|(cpu, gpu)| cpu != gpu).count();
        // Neighbours that are equally near but for rounding may change places.
        assert!(cpu.len() == gpu.len() && differing < cpu.len() / 500, "{differing} of {} differ", cpu.len());
    }
}

#[test]
fn surgery_agrees_with_the_cpu() {
    for surgery in [Surgery::Pcgrad, Surgery::Cagrad] {
        check_webgpu(&Config { surgery, ..tiny() }, 1e-3);
    }
}

#[test]
fn an_efficientnet_agrees_with_the_cpu() {
    let backbone = BackboneKind::EfficientnetB0;
    // Norms over only eight values per channel and stochastic depth amplify rounding from step to step; a small learning rate
    // limits that.
    let config = Config {
        backbone,
        widths: vec![1.0],
        batch: 8,
        bn_splits: 1,
        image_size: 32,
        learning_rate: 0.00005,
        ..tiny()
    };
    check_webgpu(&config, 1e-3);
}

/// Methods and sizes of views. Those of up to 32 pixels are not blurred; 24 pixels shrink the crops of [`pictures`], 48
/// enlarge them. SwAV's small crops have half the size.
const VIEWS: [(MethodKind, usize); 7] = [
    (MethodKind::Mocov2, 24),
    (MethodKind::Mocov2, 48),
    (MethodKind::Mocov3, 48),
    (MethodKind::Simclr, 32),
    (MethodKind::Supervised, 33),
    (MethodKind::Swav, 48),
    (MethodKind::Bingo, 24),
];

fn pictures() -> Vec<Image> {
    let picture = |number| {
        let pixels = (0..3 * 40 * 30).map(|i| ((i * 37 + number * 101) % 256) as u8).collect();
        Image::new(40, 30, pixels).unwrap()
    };
    (0..64).map(picture).collect()
}

/// Makes a sampler that takes all of some images at once. Each one's bag are the two after it.
fn sampler((method, image_size): (MethodKind, usize), images: usize) -> Sampler {
    let sizes = Config { image_size, small_crops: 3, small_size: image_size / 2, batch: images, ..tiny() };
    let bag = |image| [1, 2].map(|offset| ((image + offset) % images) as u32);
    let bags = Bags::new((0..images).flat_map(bag).collect(), 2).unwrap();
    let mut sampler = Sampler::new(&Config { method, ..sizes }, Normalisation::CIFAR10);
    sampler.set_bags(bags);
    sampler
}

/// Makes the views of step 5 on the host, as far as it finishes them.
fn host_views(sampler: &Sampler, images: &[Image], finish: Finish) -> Vec<HostViews> {
    let (epoch, batch) = sampler.batch(5, images.len());
    let (mut views, mut augmenter) = (sampler.buffers(finish), Augmenter::new());
    for source in sampler.sources((epoch, &batch), &mut views) {
        sampler.view(&mut augmenter, &(&images[source.index as usize]).into(), source).unwrap();
    }
    views
}

/// Returns the absolute differences of views from those expected.
#[track_caller]
fn differences(made: &[Tensor<4>], expected: &[Tensor<4>]) -> Vec<f32> {
    assert_eq!(made.len(), expected.len());
    let differ = |(made, expected): (&Tensor<4>, &Tensor<4>)| {
        assert_eq!(made.dims(), expected.dims());
        let [made, expected] = [made, expected].map(|views| views.to_data().iter::<f32>().collect::<Vec<_>>());
        made.into_iter().zip(expected).map(|(made, expected)| (made - expected).abs()).collect::<Vec<_>>()
    };
    made.iter().zip(expected).flat_map(differ).collect()
}

fn largest(differences: &[f32]) -> f32 {
    differences.iter().copied().fold(0.0, f32::max)
}

#[test]
fn views_made_on_the_device_agree_with_the_cpu() {
    let images = pictures();
    let uploaded = DeviceImages::on_gpu(images.iter(), &Device::wgpu(DeviceKind::DefaultDevice)).unwrap();
    for (method, size) in VIEWS {
        let sampler = sampler((method, size), images.len());
        let made = Batch::on_device(&sampler, &uploaded, 5, |image| image as u32);
        let (_, batch) = sampler.batch(5, images.len());
        assert!(made.labels.into_data().iter::<u32>().eq(batch.iter().copied()));
        let batch = HostBatch { views: host_views(&sampler, &images, Finish::Host), labels: batch };
        let expected = Batch::from_host(batch, &Device::flex());
        let difference = largest(&differences(&made.views, &expected.views));
        assert!(difference < 1e-4, "{method:?} at {size} pixels: {difference}");
    }
}

#[test]
fn cropped_views_finished_on_the_device_agree_with_the_cpu() {
    let device = Device::wgpu(DeviceKind::DefaultDevice);
    assert_eq!(finish_for(&device), Finish::Device);
    let images = pictures();
    for (method, size) in VIEWS {
        // The bytes of three views of 33 pixels do not fill whole words.
        for count in [images.len(), 3] {
            let sampler = sampler((method, size), count);
            let views = |finish, device: &Device| {
                let views = host_views(&sampler, &images[..count], finish);
                Batch::from_host(HostBatch { views, labels: vec![0; count] }, device).views
            };
            let made = views(Finish::Device, &device);
            let difference = largest(&differences(&made, &views(Finish::Device, &Device::flex())));
            assert!(difference < 1e-4, "{method:?} at {size} pixels: {difference}");
            // Beside views that were never rounded: on average less than half a grey level, a quarter before colours
            // are changed. CIFAR-10's pixels deviate by a quarter of the scale.
            let differences = differences(&made, &views(Finish::Host, &Device::flex()));
            let mean = differences.iter().sum::<f32>() / differences.len() as f32;
            assert!(mean < 0.5 / 255.0 / 0.25, "{method:?} at {size} pixels: {mean}");
        }
    }
}

#[test]
fn cropped_views_have_a_quarter_of_the_bytes() {
    let sampler = sampler((MethodKind::Mocov2, 48), 64);
    let bytes = |finish| {
        let views = host_views(&sampler, &pictures(), finish).into_iter();
        let of_view = |views| match views {
            HostViews::Finished { pixels, .. } => size_of_val(&pixels[..]),
            HostViews::Cropped(CroppedViews { pixels, .. }) => pixels.len(),
        };
        views.map(of_view).sum::<usize>()
    };
    assert_eq!(bytes(Finish::Host), 4 * bytes(Finish::Device));
}

#[test]
fn f16_agrees_with_the_cpu() {
    let config = Config { precision: Precision::F16, ..tiny() };
    assert!(is_supported(config.precision, &Device::wgpu(DeviceKind::DefaultDevice)));
    // The initial loss scale overflows, so both skip the same steps.
    check_webgpu(&config, 2e-2);
}

/// Asserts that `found` is within 5e-5 of `expected`, relative to the largest absolute value of `expected` or to 1.
#[track_caller]
fn assert_close<const D: usize>(found: Tensor<D>, expected: Tensor<D>, what: &str) {
    assert_close_at_scale(1.0, found, expected, what);
}

/// The same relative to at least `scale`, for sums: their rounding errors scale with the terms, even if those cancel.
#[track_caller]
fn assert_close_at_scale<const D: usize>(scale: f32, found: Tensor<D>, expected: Tensor<D>, what: &str) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let [found, expected] = [found, expected].map(|tensor| tensor.into_data().iter::<f32>().collect::<Vec<_>>());
    let largest = expected.iter().fold(scale, |largest, value| largest.max(value.abs()));
    let error = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
    assert!(error <= 5e-5 * largest, "{what}: error {error}, largest value {largest}");
    assert!(found.iter().all(|value| value.is_finite()), "{what}");
}

/// Generates images of normal values in NHWC or NCHW memory layout.
fn images([batch, channels, height, width]: [usize; 4], channels_last: bool, device: &Device) -> Tensor<4> {
    let normal = Distribution::Normal(0.5, 2.0);
    if channels_last {
        Tensor::random([batch, height, width, channels], normal, device).permute([0, 3, 1, 2])
    } else {
        Tensor::random([batch, channels, height, width], normal, device)
    }
}

#[test]
fn the_fused_norm_agrees_with_the_plain_one() {
    let device = Device::wgpu(DeviceKind::DefaultDevice);
    // The last shape is large enough to be summed in parts.
    for (shape, channels_last) in [
        ([2, 3, 4, 5], false),
        ([2, 3, 4, 5], true),
        ([8, 12, 1, 1], false),
        ([3, 1, 17, 9], false),
        ([3, 40, 17, 9], true),
        ([2, 3, 190, 180], false),
    ] {
        let channels = shape[1];
        let vector = || Tensor::<1>::random([channels], Distribution::Normal(1.0, 0.5), &device);
        let random = || images(shape, channels_last, &device);
        let (x, gamma, beta, shortcut, cotangent) = (random(), vector(), vector(), random(), random());
        type Form = fn(Tensor<4>, Tensor<1>, Tensor<1>, f64, Epilogue<Tensor<4>>) -> Normalised;
        for kind in 0..4 {
            let run = |form: Form| {
                let [x, shortcut] = [&x, &shortcut].map(|leaf| leaf.clone().autodiff().require_grad());
                let [gamma, beta] = [&gamma, &beta].map(|leaf| leaf.clone().autodiff().require_grad());
                let [add, relu_add] = [Epilogue::AddRelu, Epilogue::ReluAddRelu].map(|then| then(shortcut.clone()));
                let then = [Epilogue::Nothing, Epilogue::Relu, add, relu_add][kind].clone();
                let result = form(x.clone(), gamma.clone(), beta.clone(), 1e-5, then);
                let gradients = (result.output.clone() * cotangent.clone()).sum().backward();
                let image_tensors =
                    [Some(result.output.without_autodiff()), x.grad(&gradients), shortcut.grad(&gradients)];
                let channel_tensors =
                    [Some(result.mean), Some(result.variance), gamma.grad(&gradients), beta.grad(&gradients)];
                (image_tensors, channel_tensors)
            };
            let (found, expected) = (run(batch_norm_train), run(batch_norm_train_plain));
            let what = format!("{shape:?}, channels last: {channels_last}, {kind}");
            assert_eq!(found.0[2].is_some(), kind >= 2, "{what}");
            for (found, expected) in found.0.into_iter().zip(expected.0) {
                assert_eq!(found.is_some(), expected.is_some(), "{what}");
                found.zip(expected).into_iter().for_each(|(found, expected)| assert_close(found, expected, &what));
            }
            let terms = (shape.into_iter().product::<usize>() / channels) as f32;
            for (found, expected) in found.1.into_iter().zip(expected.1) {
                assert_close_at_scale(terms.max(1.0), found.unwrap(), expected.unwrap(), &what);
            }
        }
    }
}

#[test]
fn losses_and_gradients_agree_with_the_cpu() {
    let normal = |shape: [usize; 2]| Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex());
    for (rows, dim, length) in [(3, 5, 7), (4, 300, 1000)] {
        let [x, keys, teacher] = [[rows, dim], [rows, dim], [rows, 1 + length]].map(normal);
        // As in training, the queue is a transposed view.
        let queue = normal([length, dim]);
        let run = |device: &Device| {
            let [x, keys, teacher, queue] = [&x, &keys, &teacher, &queue].map(|x| x.clone().to_device(device));
            let x = x.autodiff().require_grad();
            let logits = moco_logits(normalize(x.clone()), normalize(keys), normalize(queue).transpose());
            let targets = Tensor::<1, Int>::from_data([0, 2, 1, 6], device);
            let targets = targets.narrow(0, 0, rows);
            let hard = cross_entropy(logits.clone(), targets.clone(), 0.1).loss;
            // The teacher's logits are the same on both devices, so their ranks are, too.
            let ranks = cross_entropy(teacher.clone(), targets, 0.1).ranks;
            let soft = soft_cross_entropy([logits.clone(), teacher], [0.5, 2.0]);
            let gradient = x.grad(&(hard.clone() + soft.loss.clone().mul_scalar(3.0)).backward()).unwrap();
            let vectors =
                [hard, soft.loss, ranks, soft.divergences].map(|vector| vector.without_autodiff().unsqueeze());
            [logits.without_autodiff(), gradient].into_iter().chain(vectors).collect::<Vec<Tensor<2>>>()
        };
        let [gpu, cpu] = [Device::wgpu(DeviceKind::DefaultDevice), Device::flex()].map(|device| run(&device));
        let names = ["logits", "gradient", "hard", "soft", "ranks", "divergences"];
        for (what, (found, expected)) in names.iter().zip(gpu.into_iter().zip(cpu)) {
            assert_close(found, expected, &format!("{what} of {rows} x {dim} against {length}"));
        }
    }
}

#[test]
fn running_statistics_agree_with_the_cpu() {
    let device = Device::wgpu(DeviceKind::DefaultDevice);
    for groups in [1, 3] {
        let x = images([2, 5 * groups, 4, 3], false, &device);
        let updated = |device: &Device| {
            let one = Tensor::<1>::ones([5 * groups], device);
            let result = batch_norm_train(x.clone().to_device(device), one.clone(), one, 1e-5, Epilogue::Nothing);
            let running = [0.0, 1.0].map(|initial| Tensor::<4>::full([5, 1, 1, 1], initial, device));
            move_running(running, [result.mean, result.variance], 0.1, 24.0 / 23.0)
        };
        for (found, expected) in updated(&device).into_iter().zip(updated(&Device::flex())) {
            assert_close(found, expected, "running statistics");
        }
    }
}

#[test]
fn the_fused_convolution_agrees_with_the_plain_one() {
    let device = Device::wgpu(DeviceKind::DefaultDevice);
    for (batch, [inputs, outputs], [height, width], kernel, stride) in [
        (2, [3, 5], [7, 6], 3, 1),
        (3, [5, 4], [9, 8], 3, 2),
        (2, [4, 9], [8, 7], 1, 1),
        (2, [6, 2], [5, 8], 1, 2),
        (2, [3, 6], [15, 16], 7, 2),
    ] {
        let x = images([batch, inputs, height, width], false, &device);
        // A slice of a larger weight, as a sub-network uses it.
        let full = Tensor::<4>::random([outputs + 3, inputs + 2, kernel, kernel], Distribution::Default, &device);
        let weight = full.slice([0..outputs, 0..inputs]);
        let run = |form: fn(Tensor<4>, Tensor<4>, usize) -> Tensor<4>| {
            let [x, weight] = [&x, &weight].map(|leaf| leaf.clone().autodiff().require_grad());
            let output = form(x.clone(), weight.clone(), stride);
            // Squares give every output a different gradient.
            let gradients = output.clone().powi_scalar(2).sum().backward();
            [output.without_autodiff(), x.grad(&gradients).unwrap(), weight.grad(&gradients).unwrap()]
        };
        for (found, expected) in run(conv).into_iter().zip(run(conv_plain)) {
            assert_close(found, expected, &format!("{inputs} to {outputs}, kernel {kernel}, stride {stride}"));
        }
    }
}
