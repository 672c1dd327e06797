//! Where a flow stands in the wheel of time-outs, and in its state's queue: lists through the slots.

use super::{FlowTable, NONE, WHEEL, slot_mut};
use crate::flow::State;
use crate::time::Timestamp;

impl<S: Default> FlowTable<S> {
    /// Puts a slot into the bucket of its deadline: the first second that ends at or after it.
    pub(super) fn schedule(&mut self, number: u32, deadline: Timestamp) {
        let second = deadline.nanos().div_ceil(1_000_000_000);
        let earliest = self.second.map_or(second, |processed| processed + 1);
        let latest = earliest + WHEEL as u64 - 2;
        let bucket = (second.clamp(earliest, latest) % WHEEL as u64) as usize;
        let head = std::mem::replace(&mut self.wheel[bucket], number);
        if let Some(slot) = slot_mut(&mut self.chunks, number) {
            (slot.previous, slot.next, slot.bucket) = (NONE, head, bucket as u16);
        }
        if let Some(slot) = slot_mut(&mut self.chunks, head) {
            slot.previous = number;
        }
    }

    pub(super) fn unschedule(&mut self, number: u32) {
        let Some(slot) = slot_mut(&mut self.chunks, number) else { return };
        let (previous, next, bucket) = (slot.previous, slot.next, usize::from(slot.bucket));
        (slot.previous, slot.next) = (NONE, NONE);
        match slot_mut(&mut self.chunks, previous) {
            Some(slot) => slot.next = next,
            None if self.wheel[bucket] == number => self.wheel[bucket] = next,
            None => {}
        }
        if let Some(slot) = slot_mut(&mut self.chunks, next) {
            slot.previous = previous;
        }
    }

    pub(super) fn enqueue(&mut self, number: u32, state: State) {
        let queue = &mut self.queues[state as usize];
        let tail = std::mem::replace(&mut queue.tail, number);
        if tail == NONE {
            queue.head = number;
        }
        if let Some(slot) = slot_mut(&mut self.chunks, tail) {
            slot.queue_next = number;
        }
        if let Some(slot) = slot_mut(&mut self.chunks, number) {
            (slot.queue_previous, slot.queue_next) = (tail, NONE);
        }
    }

    pub(super) fn dequeue(&mut self, number: u32) {
        let Some(slot) = slot_mut(&mut self.chunks, number) else { return };
        let (previous, next, state) = (slot.queue_previous, slot.queue_next, slot.state);
        (slot.queue_previous, slot.queue_next) = (NONE, NONE);
        let queue = &mut self.queues[state as usize];
        if queue.head == number {
            queue.head = next;
        }
        if queue.tail == number {
            queue.tail = previous;
        }
        if let Some(slot) = slot_mut(&mut self.chunks, previous) {
            slot.queue_next = next;
        }
        if let Some(slot) = slot_mut(&mut self.chunks, next) {
            slot.queue_previous = previous;
        }
    }
}
