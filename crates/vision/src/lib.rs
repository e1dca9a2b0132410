//! Temporary.
#![allow(missing_docs)]
pub use image::RgbImage;
#[derive(Clone,Copy,Debug,PartialEq,serde::Deserialize,Default)] #[serde(rename_all="lowercase")] pub enum Layout {#[default] Nchw,Nhwc}
#[derive(Clone,Debug,Default,serde::Deserialize)] pub struct Preprocess { pub layout: Layout }
#[derive(Debug, thiserror::Error)] #[error("x")] pub struct Error;
impl Error { pub fn hint(&self)->Option<String>{None} }
pub fn read_image(_:&std::path::Path)->Result<RgbImage,Error>{Err(Error)}
impl Preprocess { pub fn tensor(&self,_:&RgbImage,_:u32,_:u32,_:usize)->Vec<f32>{vec![]} }
