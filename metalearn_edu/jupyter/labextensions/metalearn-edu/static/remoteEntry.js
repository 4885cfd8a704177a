// An extension of JupyterLab: the pictures of a notebook get the text alternative that stands in
// the metadata of their output, {"image/png": {"alt": "..."}}. JupyterLab 4.6 shows the pictures
// with width, height and background from there, but without the text.
//
// This is what a build would make of it, written by hand because it is so short: a container of
// webpack's module federation, https://webpack.js.org/concepts/module-federation. JupyterLab calls
// `init` with its shared modules, and `get` for the plugin.
(() => {
  let modules;

  async function shared(name) {
    const [version] = Object.values(modules[name]);
    return (await version.get())();
  }

  async function plugin() {
    const { IRenderMimeRegistry, RenderedImage } = await shared("@jupyterlab/rendermime");

    class DescribedImage extends RenderedImage {
      async render(model) {
        await super.render(model);
        const image = this.node.querySelector("img");
        const words = model.metadata[this.mimeType]?.alt;
        if (image && words) image.alt = words;
      }
    }

    return {
      id: "metalearn-edu:text-alternatives",
      description: "Gives pictures the text alternative from their metadata.",
      autoStart: true,
      requires: [IRenderMimeRegistry],
      activate: (app, registry) => {
        const factory = {
          safe: true,
          mimeTypes: ["image/png", "image/jpeg"],
          createRenderer: (options) => new DescribedImage(options),
        };
        registry.addFactory(factory, 90); // the rank of the one that it replaces
      },
    };
  }

  globalThis._JUPYTERLAB = globalThis._JUPYTERLAB || {};
  globalThis._JUPYTERLAB["metalearn-edu"] = {
    init: (scope) => {
      modules = scope;
    },
    get: async () => {
      const made = await plugin();
      return () => ({ __esModule: true, default: made });
    },
  };
})();
