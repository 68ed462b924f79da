// The search of the site runs in a worker, which browsers refuse to start from a file on the disk.
// There, a hidden frame takes the place of the worker: the same script, and messages as before.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      this.inside = frame.contentWindow
      this.waiting = []
      this.inside.postMessage = (data) => {
        this.dispatchEvent(new MessageEvent("message", { data }))
      }
      const script = this.inside.document.createElement("script")
      script.src = new URL(address, location.href).href
      script.onload = () => {
        const waiting = this.waiting
        this.waiting = undefined
        waiting.forEach((data) => this.postMessage(data))
      }
      this.inside.document.body.append(script)
    }

    postMessage(data) {
      if (this.waiting) {
        this.waiting.push(data)
      } else {
        const MessageInside = this.inside.MessageEvent
        this.inside.dispatchEvent(new MessageInside("message", { data }))
      }
    }
  }
}
