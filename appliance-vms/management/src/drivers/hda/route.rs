//! The way that sound takes through a codec: from a converter to a plug.

use alloc::vec;
use alloc::vec::Vec;

/// Most nodes on a way: codecs have three or four.
const LONGEST: usize = 6;
/// Capabilities of a pin (7.3.4.9): it puts out sound; it switches an amplifier outside.
const PUTS_OUT: u32 = 1 << 4;
const AMPLIFIER_OUTSIDE: u32 = 1 << 16;
/// A widget's capabilities: its samples are for a digital line, which needs more than this driver knows.
const DIGITAL: u32 = 1 << 9;

/// What a node is (7.3.4.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// Makes sound of samples.
    Converter,
    Mixer,
    Selector,
    /// A plug.
    Pin,
    /// Of no use here.
    #[default]
    Other,
}

impl Kind {
    pub const fn of(capabilities: u32) -> Self {
        match capabilities >> 20 & 0xf {
            _ if capabilities & DIGITAL != 0 => Self::Other,
            0 => Self::Converter,
            2 => Self::Mixer,
            3 => Self::Selector,
            4 => Self::Pin,
            _ => Self::Other,
        }
    }
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Widget {
    pub node: u8,
    pub kind: Kind,
    /// The nodes that it hears.
    pub connections: Vec<u8>,
    /// Its amplifiers, by their steps that change nothing.
    pub input_gain: Option<u32>,
    pub output_gain: Option<u32>,
    /// A pin's capabilities, and what the board's maker says it is for (7.3.3.31).
    pub pin: u32,
    pub defaults: u32,
}

impl Widget {
    /// How well it serves as the box's loudspeaker, 0 best; `None`: not at all.
    fn rank(&self) -> Option<u32> {
        const NOTHING_CONNECTED: u32 = 1;
        let is_output = self.kind == Kind::Pin && self.pin & PUTS_OUT != 0;
        // A line out, a loudspeaker, headphones; others are digital, or for other things.
        let rank = self.defaults >> 20 & 0xf;
        (is_output && self.defaults >> 30 != NOTHING_CONNECTED && rank <= 2).then_some(rank)
    }

    pub fn is_headphones(&self) -> bool {
        self.defaults >> 20 & 0xf == 2
    }

    pub fn has_amplifier_outside(&self) -> bool {
        self.pin & AMPLIFIER_OUTSIDE != 0
    }
}

/// A node on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step<'a> {
    pub widget: &'a Widget,
    /// Which of its connections the sound comes by; a converter has none.
    pub choice: Option<u32>,
}

/// A way, from the pin to the converter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route<'a> {
    pub steps: Vec<Step<'a>>,
}

impl<'a> Route<'a> {
    /// The shortest way to the best pin that has any.
    pub fn find(widgets: &'a [Widget]) -> Option<Self> {
        let mut pins: Vec<_> = widgets.iter().filter_map(|widget| Some((widget.rank()?, widget))).collect();
        pins.sort_by_key(|&(rank, widget)| (rank, widget.node));
        pins.into_iter().find_map(|(_, pin)| Self::to(pin, widgets))
    }

    /// The shortest way to a pin: all ways of one length, and then all that are longer by a node.
    fn to(pin: &'a Widget, widgets: &'a [Widget]) -> Option<Self> {
        let mut ways = vec![vec![Step { widget: pin, choice: None }]];
        for _ in 1..LONGEST {
            let mut longer = Vec::new();
            for way in &ways {
                let Some((last, before)) = way.split_last() else { continue };
                for (choice, node) in (0..).zip(&last.widget.connections) {
                    let widget = widgets.iter().find(|widget| widget.node == *node);
                    let Some(widget) = widget.filter(|widget| !is_on(way, widget)) else { continue };
                    let mut steps = before.to_vec();
                    steps.push(Step { choice: Some(choice), ..*last });
                    steps.push(Step { widget, choice: None });
                    match widget.kind {
                        Kind::Converter => return Some(Self { steps }),
                        Kind::Mixer | Kind::Selector => longer.push(steps),
                        Kind::Pin | Kind::Other => {}
                    }
                }
            }
            ways = longer;
        }
        None
    }
}

fn is_on(way: &[Step<'_>], widget: &Widget) -> bool {
    way.iter().any(|step| step.widget.node == widget.node)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn widget(node: u8, kind: Kind, connections: &[u8]) -> Widget {
        Widget { node, kind, connections: connections.to_vec(), ..Widget::default() }
    }

    fn pin(node: u8, device: u32, connections: &[u8]) -> Widget {
        Widget { pin: PUTS_OUT, defaults: device << 20, ..widget(node, Kind::Pin, connections) }
    }

    fn found(widgets: &[Widget]) -> Option<Vec<(u8, Option<u32>)>> {
        let route = Route::find(widgets)?;
        Some(route.steps.iter().map(|step| (step.widget.node, step.choice)).collect())
    }

    #[test]
    fn a_line_out_comes_before_headphones() {
        let widgets = [widget(2, Kind::Converter, &[]), pin(4, 2, &[2]), pin(5, 0, &[2])];
        assert_eq!(found(&widgets), Some(vec![(5, Some(0)), (2, None)]));
    }

    #[test]
    fn the_shortest_way_is_taken_and_circles_end() {
        let widgets = [
            widget(2, Kind::Converter, &[]),
            widget(3, Kind::Mixer, &[4, 3, 2]),
            widget(4, Kind::Selector, &[3]),
            pin(5, 1, &[4, 9, 3]),
        ];
        assert_eq!(found(&widgets), Some(vec![(5, Some(2)), (3, Some(2)), (2, None)]));
    }

    #[test]
    fn a_plug_without_a_way_or_a_jack_is_none() {
        let mut nowhere = pin(5, 0, &[2]);
        nowhere.defaults |= 1 << 30;
        let circle = [widget(3, Kind::Mixer, &[4]), widget(4, Kind::Mixer, &[3]), pin(6, 0, &[3])];
        assert_eq!(found(&[widget(2, Kind::Converter, &[]), nowhere]), None);
        assert_eq!(found(&circle), None);
        assert_eq!(Kind::of(DIGITAL | 4 << 20), Kind::Other);
    }
}
