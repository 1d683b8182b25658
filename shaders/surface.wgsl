// The loss landscape around trained weights as a surface, with the training path on it.
//
// Positions are in grid cells along the plane's two directions. Between grid points the surface is a bicubic
// Catmull-Rom spline. Only the losses and the path are uploaded; all vertices are computed here.

struct Scene {
    /// The camera's yaw and pitch in radians, its distance, and the canvas's aspect ratio.
    camera: vec4f,
    ink: vec4f,
    paper: vec4f,
    /// Grid points along both directions, and the surface's side lengths along them.
    grid: vec4f,
    /// The surface's height, the path's radius, facets per cell along each side, number of iso-line steps.
    shape: vec4f,
    /// Points of the path, and points from one snapshot to the next.
    path: vec4f,
    /// The colour scale, from the lowest to the highest loss.
    colours: array<vec4f, 6>,
}

@group(0) @binding(0) var<uniform> scene: Scene;
/// From 0 to 1, row by row; MISSING where the loss is NaN or infinite.
@group(0) @binding(1) var<storage, read> heights: array<f32>;
@group(0) @binding(2) var<storage, read> path_points: array<vec2f>;

/// Whether to draw the outline of the path instead of the path.
override OUTLINE: bool = false;

const MISSING: f32 = -1e3;
const PI: f32 = 3.14159265;
/// Sides of the path's tube, and segments of a sphere from pole to pole.
const SIDES: u32 = 10;
const STACKS: u32 = 10;

struct Fragment {
    @builtin(position) position: vec4f,
    @location(0) normal: vec3f,
    @location(1) height: f32,
    @location(2) @interpolate(flat) kind: u32,
}

/// A vertex outside the view, so that its triangle is not drawn.
fn clipped_vertex() -> Fragment {
    return Fragment(vec4f(0.0, 0.0, 2.0, 1.0), vec3f(0.0, 1.0, 0.0), 0.0, 0u);
}

fn is_missing(height: f32) -> bool {
    return height < -100.0;
}

/// The height at a grid point.
fn height_at(column: i32, row: i32) -> f32 {
    let places = vec2i(scene.grid.xy);
    if column < 0 || row < 0 || column >= places.x || row >= places.y {
        return MISSING;
    }
    return heights[row * places.x + column];
}

/// Interpolates between the second and the third value. A missing outer value is extrapolated linearly.
fn spline(values: vec4f, t: f32) -> f32 {
    let b = values.y;
    let c = values.z;
    if is_missing(b) || is_missing(c) {
        return MISSING;
    }
    let a = select(values.x, 2.0 * b - c, is_missing(values.x));
    let d = select(values.w, 2.0 * c - b, is_missing(values.w));
    return b + 0.5 * t * (c - a + t * (2.0 * a - 5.0 * b + 4.0 * c - d + t * (3.0 * (b - c) + d - a)));
}

/// The height in a cell, at `part` from 0 to 1 along its sides.
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
        rows[n] = spline(values, part.x);
    }
    return spline(rows, part.y);
}

/// Converts grid position and height to world space: the first direction points right, the second away, the loss up.
fn to_world(at: vec2f, height: f32) -> vec3f {
    let part = at / (scene.grid.xy - 1.0) - 0.5;
    return vec3f(part.x * scene.grid.z, height * scene.shape.x, -part.y * scene.grid.w);
}

/// Rotates a direction into view space: right, up, towards the camera.
fn to_view(direction: vec3f) -> vec3f {
    let yaw = vec2f(cos(scene.camera.x), sin(scene.camera.x));
    let pitch = vec2f(cos(scene.camera.y), sin(scene.camera.y));
    let x = yaw.x * direction.x - yaw.y * direction.z;
    let z = yaw.y * direction.x + yaw.x * direction.z;
    return vec3f(x, pitch.x * direction.y - pitch.y * z, pitch.y * direction.y + pitch.x * z);
}

/// Projects a point from world to clip space.
fn to_clip(point: vec3f) -> vec4f {
    const FOCAL: f32 = 2.4;
    const NEAR: f32 = 0.1;
    const FAR: f32 = 10.0;
    let view = to_view(point - vec3f(0.0, 0.45 * scene.shape.x, 0.0));
    let depth = scene.camera.z - view.z;
    // Fits the surface into the shorter side of the canvas.
    let scale = FOCAL * min(vec2f(1.0 / scene.camera.w, 1.0), vec2f(1.0, scene.camera.w));
    return vec4f(scale * view.xy, FAR / (FAR - NEAR) * (depth - NEAR), depth);
}

@vertex
fn surface(@builtin(vertex_index) index: u32) -> Fragment {
    let facets = u32(scene.shape.z);
    let columns = (u32(scene.grid.x) - 1u) * facets;
    let facet = vec2u(index / 6u % columns, index / 6u / columns);
    var corners = array(vec2u(0, 0), vec2u(1, 0), vec2u(1, 1), vec2u(0, 0), vec2u(1, 1), vec2u(0, 1));
    let cell = vec2i(facet / facets);
    let part = vec2f(facet % facets + corners[index % 6u]) / f32(facets);
    let height = height_in(cell, part);
    if is_missing(height) {
        return clipped_vertex();
    }
    const STEP: f32 = 0.02;
    let at = vec2f(cell) + part;
    let along = vec2f(
        height_in(cell, part + vec2f(STEP, 0.0)) - height_in(cell, part - vec2f(STEP, 0.0)),
        height_in(cell, part + vec2f(0.0, STEP)) - height_in(cell, part - vec2f(0.0, STEP)),
    ) / (2.0 * STEP);
    let right = to_world(at + vec2f(1.0, 0.0), height + along.x) - to_world(at, height);
    let away = to_world(at + vec2f(0.0, 1.0), height + along.y) - to_world(at, height);
    return Fragment(to_clip(to_world(at, height)), to_view(cross(right, away)), height, 0u);
}

fn colour(height: f32) -> vec3f {
    let along = clamp(height, 0.0, 1.0) * 5.0;
    let stop = min(u32(along), 4u);
    return mix(scene.colours[stop].rgb, scene.colours[stop + 1u].rgb, along - f32(stop));
}

/// The diffuse light on a face with this normal. The light comes from above the camera, to the left.
fn light(normal: vec3f) -> f32 {
    let lamp = normalize(vec3f(-0.5, 0.75, 0.55));
    return dot(normalize(normal), lamp);
}

@fragment
fn paint_surface(fragment: Fragment) -> @location(0) vec4f {
    // Lights the visible side, also from below.
    let normal = select(-fragment.normal, fragment.normal, fragment.normal.z > 0.0);
    let ground = colour(fragment.height) * (0.62 + 0.42 * max(light(normal), 0.0));
    let level = fragment.height * scene.shape.w;
    let slope = max(fwidth(level), 1e-5);
    // Distance to the nearest iso-line in pixels. The top has none, because larger losses are clipped there.
    let away = abs(fract(level + 0.5) - 0.5) / slope;
    let line = (1.0 - smoothstep(0.3, 1.3, away)) * step(fragment.height, 0.995);
    return vec4f(mix(ground, vec3f(0.05, 0.08, 0.2), 0.55 * line), 1.0);
}

/// A point of the path, raised above the surface by its radius; its height is MISSING where there is no surface.
fn path_point(index: i32) -> vec3f {
    let at = path_points[clamp(index, 0, i32(scene.path.x) - 1)];
    let last = vec2i(scene.grid.xy) - 2;
    let cell = clamp(vec2i(floor(at)), vec2i(0), last);
    let part = at - vec2f(cell);
    if any(part < vec2f(-1e-3)) || any(part > vec2f(1.001)) {
        return vec3f(0.0, MISSING, 0.0);
    }
    let height = height_in(cell, part);
    if is_missing(height) {
        return vec3f(0.0, MISSING, 0.0);
    }
    return to_world(at, height) + vec3f(0.0, scene.shape.y, 0.0);
}

/// The path's radius times `factor`, plus the outline.
fn radius(factor: f32) -> f32 {
    return scene.shape.y * (factor + select(0.0, 0.55, OUTLINE));
}

@vertex
fn tube(@builtin(vertex_index) index: u32) -> Fragment {
    let segment = i32(index / (6u * SIDES));
    let side = index / 6u % SIDES;
    var corners = array(vec2u(0, 0), vec2u(1, 0), vec2u(1, 1), vec2u(0, 0), vec2u(1, 1), vec2u(0, 1));
    let corner = corners[index % 6u];
    if is_missing(path_point(segment).y) || is_missing(path_point(segment + 1).y) {
        return clipped_vertex();
    }
    let here = segment + i32(corner.x);
    let centre = path_point(here);
    let before = path_point(here - 1);
    let after = path_point(here + 1);
    let direction = select(after, centre, is_missing(after.y)) - select(before, centre, is_missing(before.y));
    let across = cross(direction, vec3f(0.0, 1.0, 0.0));
    if length(across) < 1e-7 {
        return clipped_vertex();
    }
    let right = normalize(across);
    let up = normalize(cross(right, direction));
    let angle = 2.0 * PI * f32(side + corner.y) / f32(SIDES);
    let normal = cos(angle) * right + sin(angle) * up;
    return Fragment(to_clip(centre + radius(1.0) * normal), to_view(normal), 0.0, 1u);
}

/// A sphere at each snapshot. The first is large and bright, the last large and dark.
@vertex
fn spheres(@builtin(vertex_index) index: u32, @builtin(instance_index) snapshot: u32) -> Fragment {
    let last = u32(scene.path.x - 1.0) / u32(scene.path.y);
    let centre = path_point(i32(snapshot * u32(scene.path.y)));
    if is_missing(centre.y) {
        return clipped_vertex();
    }
    var corners = array(vec2u(0, 0), vec2u(1, 0), vec2u(1, 1), vec2u(0, 0), vec2u(1, 1), vec2u(0, 1));
    let facet = vec2u(index / 6u % (2u * STACKS), index / 6u / (2u * STACKS)) + corners[index % 6u];
    let around = vec2f(facet) * PI / f32(STACKS);
    let normal = vec3f(sin(around.y) * cos(around.x), cos(around.y), sin(around.y) * sin(around.x));
    let is_end = snapshot == 0u || snapshot == last;
    let size = select(1.7, 3.0, is_end);
    let kind = select(1u, 2u, snapshot == 0u && last > 0u);
    return Fragment(to_clip(centre + radius(size) * normal), to_view(normal), 0.0, kind);
}

/// Paints path and spheres dark with a bright outline, so that they stand out on every colour. The first sphere is
/// inverted.
@fragment
fn paint_path(fragment: Fragment) -> @location(0) vec4f {
    let dark = vec3f(0.08, 0.085, 0.12);
    let bright = vec3f(1.0);
    if OUTLINE == (fragment.kind == 2u) {
        return vec4f(dark + 0.35 * max(light(fragment.normal) - 0.4, 0.0), 1.0);
    }
    return vec4f(bright, 1.0);
}

/// The edges of the surface's bounding box.
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
    return Fragment(to_clip(to_world(at, f32(corner.y))), vec3f(0.0, 1.0, 0.0), 0.0, 0u);
}

@fragment
fn paint_frame(fragment: Fragment) -> @location(0) vec4f {
    return vec4f(mix(scene.paper.rgb, scene.ink.rgb, 0.28), 1.0);
}
