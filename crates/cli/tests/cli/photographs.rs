//! Pictures of one colour, made by the tests that use them.

use std::path::Path;

/// Red, green and blue, as the colour detector numbers them.
pub const COLOURS: [[u8; 3]; 3] = [[255, 0, 0], [0, 255, 0], [0, 0, 255]];

/// Writes a bitmap of one colour.
pub fn write_photograph(path: &Path, width: u32, height: u32, [red, green, blue]: [u8; 3]) {
    let row = [[blue, green, red].repeat(width as usize), vec![0; (width % 4) as usize]].concat();
    let numbers = |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let pixels = row.len() as u32 * height;
    let header = numbers(&[54 + pixels, 0, 54, 40, width, height, 1 | 24 << 16, 0, pixels, 0, 0, 0, 0]);
    let file = [b"BM", header.as_slice(), &row.repeat(height as usize)].concat();
    std::fs::write(path, file).expect("a photograph");
}

/// Nine photographs of different sizes, `0.bmp` to `8.bmp`, red, green, blue and so on; their sizes.
pub fn write_photographs(folder: &Path) -> Vec<(u32, u32)> {
    std::fs::create_dir_all(folder).expect("a folder");
    let sizes: Vec<(u32, u32)> = (0..9).map(|index| (40 + 8 * index, 120 - 8 * index)).collect();
    for (index, &(width, height)) in sizes.iter().enumerate() {
        write_photograph(&folder.join(format!("{index}.bmp")), width, height, COLOURS[index % 3]);
    }
    sizes
}
