/work/main/tests/tracer/target/release/deps/devregs_tracer.d: src/lib.rs src/decode.rs src/engine.rs src/pages.rs src/probes.rs src/record.rs src/signals.rs src/stack.rs

/work/main/tests/tracer/target/release/deps/libdevregs_tracer.so: src/lib.rs src/decode.rs src/engine.rs src/pages.rs src/probes.rs src/record.rs src/signals.rs src/stack.rs

src/lib.rs:
src/decode.rs:
src/engine.rs:
src/pages.rs:
src/probes.rs:
src/record.rs:
src/signals.rs:
src/stack.rs:
