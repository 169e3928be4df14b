/** What uPlot asks a browser for when it is imported, and jsdom does not have. */

window.matchMedia = () => Object.assign(new EventTarget(), { matches: false }) as MediaQueryList;
