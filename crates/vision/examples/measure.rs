//! Times for a comparison with other libraries: `measure FOLDER SECONDS`, on the arrays that `tools/vision.py` has put
//! into the folder. Prints one JSON object: the median time of each task in milliseconds, and what was found.

use std::error::Error;
use std::fs::read;
use std::path::Path;
use std::time::{Duration, Instant};
use trtforge_vision::{
    Candidates, Fit, Input, OutputShape, Placement, Preprocess, RgbImage, Selection, Size, Suppressor, Values, choose,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("measure FOLDER SECONDS")?;
    let seconds = Duration::from_secs_f64(arguments.next().ok_or("measure FOLDER SECONDS")?.parse()?);
    let preprocess_ms = preprocess(Path::new(&folder), seconds)?;
    let (postprocess_ms, candidates, kept) = postprocess(Path::new(&folder), seconds)?;
    let answer = serde_json::json!({
        "preprocess_ms": preprocess_ms, "postprocess_ms": postprocess_ms, "candidates": candidates, "kept": kept,
    });
    println!("{answer}");
    Ok(())
}

/// 1920 x 1080 pixels stretched to 640 x 640, as fractions.
fn preprocess(folder: &Path, time: Duration) -> Result<f64, Box<dyn Error>> {
    let image = RgbImage::from_raw(1920, 1080, read(folder.join("pixels.u8"))?).ok_or("pixels.u8 is too short")?;
    let settings = Preprocess { scale: 1.0 / 255.0, ..Preprocess::default() };
    let input = Input::rgb(640, 640);
    let mut tensor = vec![0.0; input.elements()];
    median_ms(time, || Ok(settings.fill(&image, input, &mut tensor)?))
}

/// 8,400 anchors of 80 classes, decoded and suppressed.
fn postprocess(folder: &Path, time: Duration) -> Result<(f64, usize, usize), Box<dyn Error>> {
    let (scores, boxes) = (floats(&folder.join("scores.f32"))?, floats(&folder.join("boxes.f32"))?);
    let size = Size::new(640, 640)?;
    let shapes = [OutputShape::fractions("scores", &[1, 8400, 80]), OutputShape::fractions("boxes", &[1, 8400, 4])];
    let decoder = choose(&shapes, size)?;
    let selection = Selection { score: 0.05, iou: Some(0.7), max: 500, ..Selection::default() };
    let placement = Placement::new(Fit::Stretch, size, size);
    let (mut candidates, mut suppressor, mut kept) = (Candidates::new(selection.score), Suppressor::default(), 0);
    let time = median_ms(time, || {
        decoder.decode(&[Values::F32(&scores), Values::F32(&boxes)], 1, 0, &mut candidates)?;
        kept = selection.select(&candidates, &mut suppressor, &placement, size).0.len();
        Ok(())
    })?;
    Ok((time, candidates.len(), kept))
}

fn floats(path: &Path) -> Result<Vec<f32>, Box<dyn Error>> {
    Ok(read(path)?.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

fn median_ms(time: Duration, mut task: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    for _ in 0..3 {
        task()?;
    }
    let start = Instant::now();
    let mut times = Vec::new();
    while times.is_empty() || start.elapsed() < time {
        let before = Instant::now();
        task()?;
        times.push(before.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2].as_secs_f64() * 1e3)
}
