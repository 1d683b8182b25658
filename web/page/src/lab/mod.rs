//! Controls and live figures of a run, or of two side by side.
