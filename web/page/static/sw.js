// Caches the bundle, so that the page works offline. Online, the server's files are used, so that page and workers
// always come from the same bundle.

const NAME = "slimclr-";

const cacheOf = ({ version }) => NAME + version;

// Caches all files of the bundle, unless they are cached, and deletes earlier bundles.
async function update() {
  const response = await fetch("files.json", { cache: "no-cache" });
  const list = await response.clone().json();
  const cache = await caches.open(cacheOf(list));
  if (!(await cache.match("files.json"))) {
    await cache.addAll(["./", ...list.files.map(({ path }) => path)]);
    // Comes last, as the sign that the cache is complete.
    await cache.put("files.json", response);
  }
  for (const name of await caches.keys()) {
    if (name.startsWith(NAME) && name !== cacheOf(list)) await caches.delete(name);
  }
}

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(update());
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const path = new URL(request.url).pathname.slice(new URL(self.registration.scope).pathname.length);
  const isBundled = request.url.startsWith(self.registration.scope) && request.method === "GET";
  // A run's files change, and its event stream does not end.
  if (!isBundled || path.startsWith("run/")) return;
  const cached = () => caches.match(request, { ignoreSearch: true });
  const response = navigator.onLine
    ? fetch(request).catch(async (error) => (await cached()) ?? Promise.reject(error))
    : cached().then((file) => file ?? fetch(request));
  event.respondWith(response);
  // Checks for a new bundle whenever the page is opened.
  if (request.mode === "navigate") event.waitUntil(update().catch(() => {}));
});
