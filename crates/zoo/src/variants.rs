//! The seven published networks as tables: widths, depths, strides. No code that builds anything.
//!
//! Source: the DAMO-YOLO repository (Apache-2.0), release 0.3.1, whose exported convolutions these tables reproduce one for one.

use std::fmt;
use std::str::FromStr;

use crate::activation::Activation;
use crate::error::Error;

/// A DAMO-YOLO network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Tiny: 8.5 million parameters.
    T,
    /// Small: 16.2 million parameters.
    S,
    /// Medium: 28.2 million parameters.
    M,
    /// Large: 42.0 million parameters.
    L,
    /// Nano, small: 1.4 million parameters.
    Ns,
    /// Nano, medium: 2.7 million parameters.
    Nm,
    /// Nano, large: 5.7 million parameters.
    Nl,
}

impl Variant {
    /// Every network, in the order of the published tables.
    pub const ALL: [Self; 7] = [Self::T, Self::S, Self::M, Self::L, Self::Ns, Self::Nm, Self::Nl];

    /// The name on the command line, such as `damoyolo-t`.
    pub fn name(self) -> &'static str {
        match self {
            Self::T => "damoyolo-t",
            Self::S => "damoyolo-s",
            Self::M => "damoyolo-m",
            Self::L => "damoyolo-l",
            Self::Ns => "damoyolo-ns",
            Self::Nm => "damoyolo-nm",
            Self::Nl => "damoyolo-nl",
        }
    }

    /// Side in pixels of the input the network was published with.
    pub fn default_size(self) -> u32 {
        self.architecture().default_size
    }

    pub(crate) fn architecture(self) -> &'static Architecture {
        match self {
            Self::T => &T,
            Self::S => &S,
            Self::M => &M,
            Self::L => &L,
            Self::Ns => &NS,
            Self::Nm => &NM,
            Self::Nl => &NL,
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Variant {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let known = Self::ALL.into_iter().find(|variant| variant.name().eq_ignore_ascii_case(name));
        known.ok_or_else(|| Error::UnknownVariant { name: name.to_owned() })
    }
}

/// One network: its parts and the input it was published with.
pub(crate) struct Architecture {
    pub(crate) default_size: u32,
    pub(crate) backbone: Backbone,
    pub(crate) neck: Neck,
    pub(crate) head: Head,
}

/// The three backbone families. Stages that end at strides 8, 16 and 32 feed the neck.
pub(crate) enum Backbone {
    Residual { stem: usize, stages: &'static [ResidualStage] },
    CrossStage { stem: usize, stages: &'static [CrossStage] },
    Mobile { stem: usize, stages: &'static [MobileStage] },
}

/// `blocks` residual blocks of `width` channels with a bottleneck; the first one carries the stride.
pub(crate) struct ResidualStage {
    pub(crate) width: usize,
    pub(crate) bottleneck: usize,
    pub(crate) stride: usize,
    pub(crate) blocks: usize,
}

/// A cross-stage-partial stage: halves the map, then `blocks` inner blocks on half of `width` channels.
pub(crate) struct CrossStage {
    pub(crate) width: usize,
    pub(crate) bottleneck: usize,
    pub(crate) blocks: usize,
}

/// `blocks` inverted bottlenecks of `width` channels; the first one carries the stride.
pub(crate) struct MobileStage {
    pub(crate) width: usize,
    pub(crate) stride: usize,
    pub(crate) blocks: usize,
}

/// The pyramid network. Widths are for strides 8, 16 and 32.
pub(crate) struct Neck {
    pub(crate) widths: [usize; 3],
    pub(crate) blocks: usize,
    pub(crate) block: NeckBlock,
    pub(crate) activation: Activation,
}

/// What one fusion stage repeats.
pub(crate) enum NeckBlock {
    /// Two 3x3 convolutions, the hidden width being `numerator / denominator` of the outer one.
    Plain { numerator: usize, denominator: usize },
    /// An inverted bottleneck, and depthwise down-sampling between the levels.
    Mobile,
}

/// The two sibling convolutions per level.
pub(crate) struct Head {
    pub(crate) kernel: usize,
    /// Distances are distributions over the bins `0..=largest_bin`.
    pub(crate) largest_bin: usize,
}

const fn residual(width: usize, bottleneck: usize, stride: usize, blocks: usize) -> ResidualStage {
    ResidualStage { width, bottleneck, stride, blocks }
}

const fn cross(width: usize, bottleneck: usize, blocks: usize) -> CrossStage {
    CrossStage { width, bottleneck, blocks }
}

const fn mobile(width: usize, stride: usize, blocks: usize) -> MobileStage {
    MobileStage { width, stride, blocks }
}

const LARGE_HEAD: Head = Head { kernel: 3, largest_bin: 16 };
const NANO_HEAD: Head = Head { kernel: 1, largest_bin: 7 };

const fn nano_neck(widths: [usize; 3]) -> Neck {
    Neck { widths, blocks: 2, block: NeckBlock::Mobile, activation: Activation::Silu }
}

static T: Architecture = Architecture {
    default_size: 640,
    backbone: Backbone::Residual {
        stem: 24,
        stages: &[
            residual(64, 24, 2, 2),
            residual(96, 64, 2, 2),
            residual(192, 96, 2, 2),
            residual(192, 152, 1, 2),
            residual(384, 192, 2, 1),
        ],
    },
    neck: Neck {
        widths: [64, 128, 256],
        blocks: 3,
        block: NeckBlock::Plain { numerator: 1, denominator: 1 },
        activation: Activation::Relu,
    },
    head: LARGE_HEAD,
};

static S: Architecture = Architecture {
    default_size: 640,
    backbone: Backbone::Residual {
        stem: 32,
        stages: &[
            residual(128, 24, 2, 1),
            residual(128, 88, 2, 5),
            residual(256, 128, 2, 3),
            residual(256, 120, 1, 2),
            residual(512, 144, 2, 1),
        ],
    },
    neck: Neck {
        widths: [128, 256, 512],
        blocks: 3,
        block: NeckBlock::Plain { numerator: 3, denominator: 4 },
        activation: Activation::Relu,
    },
    head: LARGE_HEAD,
};

static M: Architecture = Architecture {
    default_size: 640,
    backbone: Backbone::CrossStage {
        stem: 32,
        stages: &[cross(128, 64, 1), cross(128, 64, 3), cross(256, 256, 7), cross(512, 256, 2)],
    },
    neck: Neck {
        widths: [128, 256, 512],
        blocks: 4,
        block: NeckBlock::Plain { numerator: 1, denominator: 1 },
        activation: Activation::Silu,
    },
    head: LARGE_HEAD,
};

static L: Architecture = Architecture {
    default_size: 640,
    backbone: Backbone::CrossStage {
        stem: 32,
        stages: &[cross(128, 96, 2), cross(128, 96, 4), cross(256, 384, 9), cross(512, 384, 3)],
    },
    neck: Neck {
        widths: [128, 256, 512],
        blocks: 6,
        block: NeckBlock::Plain { numerator: 1, denominator: 1 },
        activation: Activation::Silu,
    },
    head: LARGE_HEAD,
};

static NS: Architecture = Architecture {
    default_size: 416,
    backbone: Backbone::Mobile {
        stem: 16,
        stages: &[mobile(24, 2, 1), mobile(40, 2, 2), mobile(64, 2, 2), mobile(80, 1, 2), mobile(160, 2, 2)],
    },
    neck: nano_neck([40, 80, 160]),
    head: NANO_HEAD,
};

static NM: Architecture = Architecture {
    default_size: 416,
    backbone: Backbone::Mobile {
        stem: 16,
        stages: &[mobile(40, 2, 2), mobile(64, 2, 2), mobile(112, 2, 2), mobile(128, 1, 2), mobile(256, 2, 1)],
    },
    neck: nano_neck([64, 128, 256]),
    head: NANO_HEAD,
};

static NL: Architecture = Architecture {
    default_size: 416,
    backbone: Backbone::Mobile {
        stem: 24,
        stages: &[mobile(48, 2, 1), mobile(80, 2, 2), mobile(160, 2, 2), mobile(160, 1, 3), mobile(320, 2, 2)],
    },
    neck: nano_neck([80, 160, 320]),
    head: NANO_HEAD,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for variant in Variant::ALL {
            assert_eq!(variant.to_string().parse(), Ok(variant));
            assert_eq!(variant.name().to_uppercase().parse(), Ok(variant));
        }
    }

    #[test]
    fn unknown_names_are_refused_with_the_list() {
        let error = "damoyolo-x".parse::<Variant>().expect_err("not in the zoo");
        assert_eq!(error, Error::UnknownVariant { name: "damoyolo-x".to_owned() });
        assert!(error.hint().is_some_and(|hint| hint.contains("damoyolo-nl")));
    }
}
