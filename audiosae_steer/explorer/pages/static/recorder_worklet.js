// Hands on what the microphone hears, block by block.
class Recorder extends AudioWorkletProcessor {
  process(inputs) {
    const channel = inputs[0] && inputs[0][0];
    if (channel && channel.length) { this.port.postMessage(channel.slice()); }
    return true;
  }
}
registerProcessor("recorder", Recorder);
