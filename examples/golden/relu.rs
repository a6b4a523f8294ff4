// A function in Rust, and a reader of the golden files that it is checked with:
//
//     npconv cases relu -o golden
//     rustc -O -o relu examples/golden/relu.rs && ./relu golden
//     npconv check --results golden
//
// For every line of golden/problems.txt it reads x.npy and dy.npy and writes y.got.bin and dx.got.bin.

use std::{convert::TryInto, env, fs, path::Path};

fn relu(x: f32) -> f32 {
    if x <= 0.0 { 0.0 } else { x }
}

fn relu_backward(dy: f32, x: f32) -> f32 {
    if x <= 0.0 { 0.0 } else { dy }
}

/// The numbers of a .npy file of float32: bytes 8 and 9 are the length of the header that follows them.
fn numbers(path: &Path) -> Vec<f32> {
    let bytes = fs::read(path).expect("a .npy file");
    let header = 10 + bytes[8] as usize + 256 * bytes[9] as usize;
    bytes[header..].chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

fn write(path: &Path, numbers: impl Iterator<Item = f32>) {
    let bytes: Vec<u8> = numbers.flat_map(f32::to_le_bytes).collect();
    fs::write(path, bytes).expect("a folder to write into");
}

fn main() {
    let folder = env::args().nth(1).expect("the folder of the golden files");
    let problems = fs::read_to_string(Path::new(&folder).join("problems.txt")).expect("problems.txt");
    for line in problems.lines() {
        let here = Path::new(&folder).join(line.split(' ').next().unwrap());
        let (x, dy) = (numbers(&here.join("x.npy")), numbers(&here.join("dy.npy")));
        write(&here.join("y.got.bin"), x.iter().map(|&x| relu(x)));
        write(&here.join("dx.got.bin"), dy.iter().zip(&x).map(|(&dy, &x)| relu_backward(dy, x)));
    }
}
