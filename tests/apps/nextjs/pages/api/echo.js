// What reached the app.
export default function handler(req, res) {
  res.json({ method: req.method, url: req.url, headers: req.headers, cookies: req.cookies });
}
