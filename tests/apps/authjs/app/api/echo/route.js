// What reached the app.
export function GET(request) {
  return Response.json({ headers: Object.fromEntries(request.headers) });
}
