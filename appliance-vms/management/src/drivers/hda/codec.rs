//! What a codec is made of, and how it is set up (chapter 7).

use super::layout::{FORMAT, parameter, verb};
use super::link::Link;
use super::route::{Kind, Route, Widget};
use super::{Death, Pause, TAG};
use crate::drivers::registers::PackedRegisters;
use alloc::vec::Vec;

/// A function group that is for sound (7.3.4.4).
const AUDIO: u32 = 1;
/// Bits of a widget's capabilities (7.3.4.6).
const INPUT_AMPLIFIER: u32 = 1 << 1;
const OUTPUT_AMPLIFIER: u32 = 1 << 2;
const OWN_AMPLIFIERS: u32 = 1 << 3;
const CONNECTIONS: u32 = 1 << 8;
/// What a list of connections says of itself: entries have 16 bits, and how many they are.
const LONG: u32 = 1 << 7;
const COUNT: u32 = 0x7f;
/// An amplifier's step that changes nothing, in its capabilities and in the verb that sets it.
const NEUTRAL: u32 = 0x7f;
/// Left and right of the output, or of the input that bits 8 to 11 name (7.3.3.7).
const BOTH_OUT: u32 = 0xb000;
const BOTH_IN: u32 = 0x7000;
/// A pin puts out sound; also to headphones (7.3.3.13).
const OUT: u32 = 1 << 6;
const HEADPHONES: u32 = 1 << 7;
/// An external amplifier is on (7.3.3.16).
const EAPD: u32 = 1 << 1;

/// A codec that is asked.
pub(super) struct Codec<'a, P> {
    pub registers: &'a dyn PackedRegisters,
    pub link: &'a mut Link,
    pub address: u8,
    pub pause: &'a P,
}

impl<P: Pause> Codec<'_, P> {
    async fn tell(&mut self, node: u8, verb: u32) -> Result<u32, Death> {
        self.link.ask(self.registers, (self.address, node), verb, self.pause).await
    }

    async fn parameter(&mut self, node: u8, which: u32) -> Result<u32, Death> {
        self.tell(node, verb::GET_PARAMETER | which).await
    }

    /// The nodes below a node.
    async fn nodes(&mut self, node: u8) -> Result<impl Iterator<Item = u8> + use<P>, Death> {
        let answer = self.parameter(node, parameter::NODES).await?;
        let (first, count) = ((answer >> 16) as u8, answer as u8);
        Ok(first..first.saturating_add(count))
    }

    /// Wakes the first group that is for sound; what it is made of.
    pub async fn widgets(&mut self) -> Result<Vec<Widget>, Death> {
        for group in self.nodes(0).await? {
            if self.parameter(group, parameter::GROUP).await? & 0xff == AUDIO {
                self.tell(group, verb::SET_POWER).await?;
                let amplifiers = [
                    self.parameter(group, parameter::INPUT_AMPLIFIER).await?,
                    self.parameter(group, parameter::OUTPUT_AMPLIFIER).await?,
                ];
                let mut widgets = Vec::new();
                for node in self.nodes(group).await? {
                    widgets.push(self.widget(node, amplifiers).await?);
                }
                return Ok(widgets);
            }
        }
        Ok(Vec::new())
    }

    async fn widget(&mut self, node: u8, amplifiers: [u32; 2]) -> Result<Widget, Death> {
        let capabilities = self.parameter(node, parameter::WIDGET).await?;
        let kind = Kind::of(capabilities);
        let mut widget = Widget { node, kind, ..Widget::default() };
        if kind == Kind::Other {
            return Ok(widget);
        }
        let own = capabilities & OWN_AMPLIFIERS != 0;
        for (bit, which, group, place) in [
            (INPUT_AMPLIFIER, parameter::INPUT_AMPLIFIER, amplifiers[0], &mut widget.input_gain),
            (OUTPUT_AMPLIFIER, parameter::OUTPUT_AMPLIFIER, amplifiers[1], &mut widget.output_gain),
        ] {
            if capabilities & bit != 0 {
                let amplifier = if own { self.parameter(node, which).await? } else { group };
                *place = Some(amplifier & NEUTRAL);
            }
        }
        if capabilities & CONNECTIONS != 0 {
            widget.connections = self.connections(node).await?;
        }
        if kind == Kind::Pin {
            widget.pin = self.parameter(node, parameter::PIN).await?;
            widget.defaults = self.tell(node, verb::GET_DEFAULTS).await?;
        }
        Ok(widget)
    }

    /// The nodes that a node hears (7.1.2). One with its top bit set is the end of a range.
    async fn connections(&mut self, node: u8) -> Result<Vec<u8>, Death> {
        let about = self.parameter(node, parameter::CONNECTIONS).await?;
        let (bits, each) = if about & LONG == 0 { (8, 4) } else { (16, 2) };
        let top = 1 << (bits - 1);
        let mut nodes = Vec::new();
        for at in (0..about & COUNT).step_by(each) {
            let entries = self.tell(node, verb::GET_CONNECTIONS | at).await?;
            for number in 0..(each as u32).min((about & COUNT) - at) {
                let entry = entries >> (number * bits) & ((top << 1) - 1);
                let last = nodes.last().copied().unwrap_or(u8::MAX);
                let end = (entry & !top) as u8;
                if entry & top == 0 {
                    nodes.push(end);
                } else {
                    nodes.extend(last.saturating_add(1)..=end);
                }
            }
        }
        Ok(nodes)
    }

    /// Has sound of our stream go a way from its converter to its pin.
    pub async fn open(&mut self, route: &Route<'_>) -> Result<(), Death> {
        for step in &route.steps {
            let Widget { node, kind, input_gain, output_gain, .. } = *step.widget;
            self.tell(node, verb::SET_POWER).await?;
            if let Some(choice) = step.choice {
                if kind != Kind::Mixer && step.widget.connections.len() > 1 {
                    self.tell(node, verb::SET_CONNECTION | choice).await?;
                }
                if let Some(gain) = input_gain {
                    let index = if kind == Kind::Mixer { choice & 0xf } else { 0 };
                    self.tell(node, verb::SET_AMPLIFIER | BOTH_IN | index << 8 | gain).await?;
                }
            }
            if let Some(gain) = output_gain {
                self.tell(node, verb::SET_AMPLIFIER | BOTH_OUT | gain).await?;
            }
            match kind {
                Kind::Pin => {
                    let headphones = if step.widget.is_headphones() { HEADPHONES } else { 0 };
                    self.tell(node, verb::SET_PIN | OUT | headphones).await?;
                    if step.widget.has_amplifier_outside() {
                        self.tell(node, verb::SET_EAPD | EAPD).await?;
                    }
                }
                Kind::Converter => {
                    self.tell(node, verb::SET_STREAM | TAG << 4).await?;
                    self.tell(node, verb::SET_FORMAT | u32::from(FORMAT)).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}
