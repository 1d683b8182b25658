// The loss around trained weights as a relief, and the weights' way across it.
//
// Places are counted along the two directions of the plane; between them the surface is a bicubic (Catmull-Rom) one.
// Nothing is uploaded but the losses and the way: all corners are computed here.

struct Scene {
    /// Yaw and pitch of the eye in radians, its distance, and the canvas's width over its height.
    eye: vec4f,
    ink: vec4f,
    paper: vec4f,
    /// Places along both directions, and the relief's lengths along them.
    grid: vec4f,
    /// The relief's height, the way's radius, facets of a cell along each side, iso-lines' steps.
    relief: vec4f,
    /// Points of the way, and how many lie between two snapshots.
    way: vec4f,
    /// Colours from the lowest loss to the highest.
    colours: array<vec4f, 6>,
}

@group(0) @binding(0) var<uniform> scene: Scene;
/// From 0 to 1, row by row; far below where there is none.
@group(0) @binding(1) var<storage, read> heights: array<f32>;
@group(0) @binding(2) var<storage, read> way: array<vec2f>;

/// Whether the rim around the way is drawn, or the way itself.
override RIM: bool = false;

const NONE: f32 = -1e3;
const PI: f32 = 3.14159265;
/// Sides of the way's tube, and segments of a ball from pole to pole.
const SIDES: u32 = 10;
const STACKS: u32 = 10;

struct Fragment {
    @builtin(position) position: vec4f,
    @location(0) normal: vec3f,
    @location(1) height: f32,
    @location(2) @interpolate(flat) kind: u32,
}

/// A corner that no triangle shows.
fn nowhere() -> Fragment {
    return Fragment(vec4f(0.0, 0.0, 2.0, 1.0), vec3f(0.0, 1.0, 0.0), 0.0, 0u);
}

fn is_none(height: f32) -> bool {
    return height < -100.0;
}

/// The height at a place.
fn height_at(column: i32, row: i32) -> f32 {
    let places = vec2i(scene.grid.xy);
    if column < 0 || row < 0 || column >= places.x || row >= places.y {
        return NONE;
    }
    return heights[row * places.x + column];
}

/// A curve from the second value to the third, which goes on straight where an outer one is missing.
fn curve(values: vec4f, t: f32) -> f32 {
    let b = values.y;
    let c = values.z;
    if is_none(b) || is_none(c) {
        return NONE;
    }
    let a = select(values.x, 2.0 * b - c, is_none(values.x));
    let d = select(values.w, 2.0 * c - b, is_none(values.w));
    return b + 0.5 * t * (c - a + t * (2.0 * a - 5.0 * b + 4.0 * c - d + t * (3.0 * (b - c) + d - a)));
}

/// The height in a cell, at a part of its sides.
fn height_in(cell: vec2i, part: vec2f) -> f32 {
    var rows: vec4f;
    for (var n = 0; n < 4; n++) {
        let row = cell.y + n - 1;
        let values = vec4f(
            height_at(cell.x - 1, row),
            height_at(cell.x, row),
            height_at(cell.x + 1, row),
            height_at(cell.x + 2, row),
        );
        rows[n] = curve(values, part.x);
    }
    return curve(rows, part.y);
}

/// From places and height to space: the first direction to the right, the second away, the loss upwards.
fn in_space(at: vec2f, height: f32) -> vec3f {
    let part = at / (scene.grid.xy - 1.0) - 0.5;
    return vec3f(part.x * scene.grid.z, height * scene.relief.x, -part.y * scene.grid.w);
}

/// As the eye sees a direction: to the right, upwards, towards it.
fn turned(direction: vec3f) -> vec3f {
    let yaw = vec2f(cos(scene.eye.x), sin(scene.eye.x));
    let pitch = vec2f(cos(scene.eye.y), sin(scene.eye.y));
    let x = yaw.x * direction.x - yaw.y * direction.z;
    let z = yaw.y * direction.x + yaw.x * direction.z;
    return vec3f(x, pitch.x * direction.y - pitch.y * z, pitch.y * direction.y + pitch.x * z);
}

/// From space to the canvas.
fn on_canvas(point: vec3f) -> vec4f {
    const FOCAL: f32 = 2.4;
    const NEAR: f32 = 0.1;
    const FAR: f32 = 10.0;
    let seen = turned(point - vec3f(0.0, 0.45 * scene.relief.x, 0.0));
    let depth = scene.eye.z - seen.z;
    // All of it is seen, whichever side of the canvas is the shorter.
    let scale = FOCAL * min(vec2f(1.0 / scene.eye.w, 1.0), vec2f(1.0, scene.eye.w));
    return vec4f(scale * seen.xy, FAR / (FAR - NEAR) * (depth - NEAR), depth);
}

@vertex
fn surface(@builtin(vertex_index) index: u32) -> Fragment {
    let facets = u32(scene.relief.z);
    let columns = (u32(scene.grid.x) - 1u) * facets;
    let facet = vec2u(index / 6u % columns, index / 6u / columns);
    var corners = array(vec2u(0, 0), vec2u(1, 0), vec2u(1, 1), vec2u(0, 0), vec2u(1, 1), vec2u(0, 1));
    let cell = vec2i(facet / facets);
    let part = vec2f(facet % facets + corners[index % 6u]) / f32(facets);
    let height = height_in(cell, part);
    if is_none(height) {
        return nowhere();
    }
    const STEP: f32 = 0.02;
    let at = vec2f(cell) + part;
    let along = vec2f(
        height_in(cell, part + vec2f(STEP, 0.0)) - height_in(cell, part - vec2f(STEP, 0.0)),
        height_in(cell, part + vec2f(0.0, STEP)) - height_in(cell, part - vec2f(0.0, STEP)),
    ) / (2.0 * STEP);
    let right = in_space(at + vec2f(1.0, 0.0), height + along.x) - in_space(at, height);
    let away = in_space(at + vec2f(0.0, 1.0), height + along.y) - in_space(at, height);
    return Fragment(on_canvas(in_space(at, height)), turned(cross(right, away)), height, 0u);
}

fn colour(height: f32) -> vec3f {
    let along = clamp(height, 0.0, 1.0) * 5.0;
    let stop = min(u32(along), 4u);
    return mix(scene.colours[stop].rgb, scene.colours[stop + 1u].rgb, along - f32(stop));
}

/// How much light falls on what is turned so; the lamp stands over the eye's left shoulder.
fn light(normal: vec3f) -> f32 {
    let lamp = normalize(vec3f(-0.5, 0.75, 0.55));
    return dot(normalize(normal), lamp);
}

@fragment
fn paint_surface(fragment: Fragment) -> @location(0) vec4f {
    // From below, too, it is lit on the side that is seen.
    let normal = select(-fragment.normal, fragment.normal, fragment.normal.z > 0.0);
    let ground = colour(fragment.height) * (0.62 + 0.42 * max(light(normal), 0.0));
    let level = fragment.height * scene.relief.w;
    let slope = max(fwidth(level), 1e-5);
    // Pixels from the nearest iso-line; there is none at the very top, where losses are cut off.
    let away = abs(fract(level + 0.5) - 0.5) / slope;
    let line = (1.0 - smoothstep(0.3, 1.3, away)) * step(fragment.height, 0.995);
    return vec4f(mix(ground, vec3f(0.05, 0.08, 0.2), 0.55 * line), 1.0);
}

/// A point of the way, above the ground by its radius; far below where there is no ground.
fn point_of_way(index: i32) -> vec3f {
    let at = way[clamp(index, 0, i32(scene.way.x) - 1)];
    let last = vec2i(scene.grid.xy) - 2;
    let cell = clamp(vec2i(floor(at)), vec2i(0), last);
    let part = at - vec2f(cell);
    if any(part < vec2f(-1e-3)) || any(part > vec2f(1.001)) {
        return vec3f(0.0, NONE, 0.0);
    }
    let height = height_in(cell, part);
    if is_none(height) {
        return vec3f(0.0, NONE, 0.0);
    }
    return in_space(at, height) + vec3f(0.0, scene.relief.y, 0.0);
}

/// The radius of what is drawn along the way, its rim included.
fn radius(times: f32) -> f32 {
    return scene.relief.y * (times + select(0.0, 0.55, RIM));
}

@vertex
fn tube(@builtin(vertex_index) index: u32) -> Fragment {
    let segment = i32(index / (6u * SIDES));
    let side = index / 6u % SIDES;
    var corners = array(vec2u(0, 0), vec2u(1, 0), vec2u(1, 1), vec2u(0, 0), vec2u(1, 1), vec2u(0, 1));
    let corner = corners[index % 6u];
    if is_none(point_of_way(segment).y) || is_none(point_of_way(segment + 1).y) {
        return nowhere();
    }
    let here = segment + i32(corner.x);
    let centre = point_of_way(here);
    let before = point_of_way(here - 1);
    let after = point_of_way(here + 1);
    let direction = select(after, centre, is_none(after.y)) - select(before, centre, is_none(before.y));
    let across = cross(direction, vec3f(0.0, 1.0, 0.0));
    if length(across) < 1e-7 {
        return nowhere();
    }
    let right = normalize(across);
    let up = normalize(cross(right, direction));
    let angle = 2.0 * PI * f32(side + corner.y) / f32(SIDES);
    let normal = cos(angle) * right + sin(angle) * up;
    return Fragment(on_canvas(centre + radius(1.0) * normal), turned(normal), 0.0, 1u);
}

/// A ball at each snapshot: the first hollow, the last large.
@vertex
fn balls(@builtin(vertex_index) index: u32, @builtin(instance_index) snapshot: u32) -> Fragment {
    let last = u32(scene.way.x - 1.0) / u32(scene.way.y);
    let centre = point_of_way(i32(snapshot * u32(scene.way.y)));
    if is_none(centre.y) {
        return nowhere();
    }
    var corners = array(vec2u(0, 0), vec2u(1, 0), vec2u(1, 1), vec2u(0, 0), vec2u(1, 1), vec2u(0, 1));
    let facet = vec2u(index / 6u % (2u * STACKS), index / 6u / (2u * STACKS)) + corners[index % 6u];
    let around = vec2f(facet) * PI / f32(STACKS);
    let normal = vec3f(sin(around.y) * cos(around.x), cos(around.y), sin(around.y) * sin(around.x));
    let is_end = snapshot == 0u || snapshot == last;
    let size = select(1.7, 3.0, is_end);
    let kind = select(1u, 2u, snapshot == 0u && last > 0u);
    return Fragment(on_canvas(centre + radius(size) * normal), turned(normal), 0.0, kind);
}

/// The way and its balls are dark with a light rim, which can be seen on every colour; the hollow ball is the reverse.
@fragment
fn paint_way(fragment: Fragment) -> @location(0) vec4f {
    let dark = vec3f(0.08, 0.085, 0.12);
    let bright = vec3f(1.0);
    if RIM == (fragment.kind == 2u) {
        return vec4f(dark + 0.35 * max(light(fragment.normal) - 0.4, 0.0), 1.0);
    }
    return vec4f(bright, 1.0);
}

/// The edges of the box that the relief stands in.
@vertex
fn frame(@builtin(vertex_index) index: u32) -> Fragment {
    let edge = index / 2u;
    let end = index % 2u;
    let axis = edge / 4u;
    let others = vec2u(edge % 2u, edge / 2u % 2u);
    var corner: vec3u;
    switch axis {
        case 0u: { corner = vec3u(end, others); }
        case 1u: { corner = vec3u(others.x, end, others.y); }
        default: { corner = vec3u(others, end); }
    }
    let at = vec2f(corner.xz) * (scene.grid.xy - 1.0);
    return Fragment(on_canvas(in_space(at, f32(corner.y))), vec3f(0.0, 1.0, 0.0), 0.0, 0u);
}

@fragment
fn paint_frame(fragment: Fragment) -> @location(0) vec4f {
    return vec4f(mix(scene.paper.rgb, scene.ink.rgb, 0.28), 1.0);
}
